import { defineConfig } from "vite";

export default defineConfig({
  base: "./", // the built page works in any folder
  appType: "mpa", // a file that is missing is missing, not this page
  build: { target: "es2022", assetsInlineLimit: 0 },
});
