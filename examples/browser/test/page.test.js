/** The built page in a real browser. Needs `dist`, and Chromium (CHROMIUM names it, otherwise `chromium` on the path). */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { preview } from "vite";

const CHROMIUM = process.env.CHROMIUM ?? execFileSync("which", ["chromium"], { encoding: "utf8" }).trim();
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
const OFFLINE = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];
const expected = JSON.parse(await readFile(new URL("expected.json", import.meta.url)));

let server, browser;
before(async () => {
  server = await preview({ preview: { port: 0 }, logLevel: "silent" });
  browser = await chromium.launch({ executablePath: CHROMIUM, args: [...QUIET, ...OFFLINE] });
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** The page when it is ready, and what went wrong on it. */
async function open(viewport, colorScheme = "light", context = browser) {
  const page = await context.newPage(context === browser ? { viewport, colorScheme, deviceScaleFactor: 2 } : undefined);
  const trouble = [];
  const own = server.resolvedUrls.local[0];
  page.on("pageerror", (error) => trouble.push(error.message));
  page.on("console", (message) => message.type() === "error" && trouble.push(message.text()));
  page.on("request", (request) => request.url().startsWith(own) || /^(data|blob):/.test(request.url()) || trouble.push(request.url()));
  await page.goto(own);
  await page.locator("#play:enabled, #error:not([hidden])").waitFor();
  assert.equal(await page.locator("#error").textContent(), "");
  return { page, trouble };
}

test("the browser forecasts what Python forecasts", async () => {
  const { page, trouble } = await open({ width: 1280, height: 900 });
  const got = await page.evaluate(async (count) => {
    const signal = await (await fetch("stream.json")).json();
    const { session } = window.demo;
    const forecasts = [];
    for (let i = 0; i < count; i++) {
      const { forecast } = await session.push({ values: signal.values[i], time: signal.time[i] });
      forecasts.push(Array.from(forecast));
    }
    return forecasts;
  }, expected.length);
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    assert.equal(got[i].length, expected[i].length);
    for (let j = 0; j < expected[i].length; j++) {
      difference = Math.max(difference, Math.abs(got[i][j] - expected[i][j]));
      largest = Math.max(largest, Math.abs(expected[i][j]));
    }
  }
  console.log(`${expected.length} forecasts, largest ${largest.toFixed(1)} MW, differ by ${difference.toExponential(1)} MW`);
  assert.ok(largest > 10);
  assert.ok(difference < 1e-4, `forecasts must equal Python's to 1e-4 MW, differ by ${difference}`);
  assert.deepEqual(trouble, []);
  await page.close();
});

test("a snapshot continues exactly, one of another model is refused", async () => {
  const { page } = await open({ width: 1280, height: 900 });
  const { same, messages, steps } = await page.evaluate(async () => {
    const signal = await (await fetch("stream.json")).json();
    const { session } = window.demo;
    const push = (i) => session.push({ values: signal.values[i], time: signal.time[i] });
    for (let i = 0; i < 50; i++) await push(i);
    const text = session.snapshot();
    const once = await push(50);
    await push(51);
    session.restore(text);
    const again = await push(50);
    const messages = [];
    for (const wrong of ["", "{}", text.replace(/"model":"\w+"/, '"model":"0"'), text.replace(/"steps":50,/, ""), text.slice(0, -9)]) {
      try {
        session.restore(wrong);
        messages.push("accepted");
      } catch (error) {
        messages.push(error.message);
      }
    }
    return { same: once.forecast.every((value, i) => value === again.forecast[i]), messages, steps: session.steps };
  });
  assert.ok(same);
  assert.equal(steps, 51);
  assert.ok(messages.every((message) => /^snapshot must be/.test(message)), messages.join("\n"));
  await page.close();
});

test("bad files and bad inputs are refused in one line", async () => {
  const { page } = await open({ width: 1280, height: 900 });
  const messages = await page.evaluate(async () => {
    const whole = new Uint8Array(await (await fetch("model.onnx")).arrayBuffer());
    const text = (content) => new TextEncoder().encode(content);
    const newer = whole.slice();
    const place = new TextDecoder("latin1").decode(newer).indexOf('"format": 1');
    newer[place + 10] = "9".charCodeAt(0);
    const files = {
      truncated: whole.slice(0, whole.length / 2),
      foreign: text("just words"),
      pickle: text("\x80\x04\x95\x1a\x00cposix\nsystem\n(S'echo'\ntR."),
      empty: new Uint8Array(),
      newer,
    };
    const messages = {};
    for (const [name, content] of Object.entries(files)) {
      try {
        await window.demo.Session.open(content.buffer);
        messages[name] = "accepted";
      } catch (error) {
        messages[name] = error.message;
      }
    }
    await window.demo.session.push({ values: [20], time: 3600 });
    const inputs = {
      none: {},
      two: { values: [1, 2], time: 7200 },
      infinite: { values: [Infinity], time: 7200 },
      large: { values: [1e18], time: 7200 },
      unknown: { values: [1], time: 7200, future: 3 },
      again: { values: [1], time: 3600 },
      gap: { values: [1], time: 3600 * 100 },
    };
    for (const [name, input] of Object.entries(inputs)) {
      try {
        await window.demo.session.push(input);
        messages[name] = "accepted";
      } catch (error) {
        messages[name] = error.message;
      }
    }
    return messages;
  });
  for (const name of ["truncated", "foreign", "pickle", "empty"]) assert.match(messages[name], /^model must be a whole/);
  assert.match(messages.newer, /^format of the model must be 1, got 9/);
  assert.match(messages.none, /^values must be given/);
  assert.match(messages.two, /^values must be 1 numbers, got 2/);
  assert.match(messages.large, /^inputs must be of the size of the training data/);
  assert.match(messages.unknown, /^inputs must be values, time, got future/);
  assert.match(messages.again, /^time must be later/);
  assert.match(messages.gap, /^time must be one step, 3600, later, got 356400/);
  assert.match(messages.infinite, /^values must be finite, or NaN, got Infinity/);
  await page.close();
});

for (const [name, viewport, scheme] of [
  ["desktop", { width: 1280, height: 860 }, "light"],
  ["phone", { width: 390, height: 844 }, "dark"],
]) {
  test(`someone plays, saves, forgets and goes back, on a ${name}`, async () => {
    const { page, trouble } = await open(viewport, scheme);
    const steps = async () => Number((await page.locator("[data-show=steps]").textContent()).replaceAll(/\D/g, ""));
    const shape = () => page.locator("svg .forecast").getAttribute("d");
    await page.locator("#speed").selectOption("100");
    await page.locator("#play").click();
    await page.waitForFunction(() => Number(document.querySelector("[data-show=steps]").textContent) >= 200);
    await page.locator("#play").click();
    await page.locator("#save:enabled").click();
    const [count, forecast] = [await steps(), await shape()];
    const error = async (which) => parseFloat(await page.locator(`[data-show=${which}]`).textContent());
    assert.ok((await error("mae")) < (await error("naive")), "the model must be better than yesterday's reading");
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), "nothing sticks out");
    if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/browser-${name}.png` });
    await page.locator("#step").click();
    const remembered = await shape();
    await page.locator("#restore:enabled").click();
    assert.deepEqual([await steps(), await shape()], [count, forecast]);
    await page.locator("#reset").click();
    await page.locator("#step").click();
    assert.equal(await steps(), 1);
    assert.notEqual(await shape(), remembered); // the same row, another past
    assert.deepEqual(trouble, []);
    await page.close();
  });
}

test("one play at a time, to the end of the signal and from its start again", async () => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  await context.route("**/stream.json", async (route) => {
    const signal = await (await route.fetch()).json();
    const [time, values] = [signal.time.slice(0, 60), signal.values.slice(0, 60)];
    await route.fulfill({ json: { ...signal, time, values } });
  });
  const { page, trouble } = await open(null, "light", context);
  const steps = async () => Number(await page.locator("[data-show=steps]").textContent());
  await page.locator("#speed").selectOption("5");
  for (let i = 0; i < 5; i++) await page.locator("#play").click(); // ends in playing, once
  const before = await steps();
  await page.waitForTimeout(2000);
  assert.ok((await steps()) - before <= 13, "rows come at the speed that was chosen");
  await page.locator("#speed").selectOption("100");
  await page.waitForFunction(() => document.getElementById("play").textContent === "Play");
  assert.equal(await steps(), 60);
  assert.ok(await page.locator("#step").isDisabled());
  assert.doesNotMatch(await page.locator("#chart").innerHTML(), /NaN|undefined/);
  await page.locator("#play").click();
  await page.waitForFunction(() => Number(document.querySelector("[data-show=steps]").textContent) < 60);
  assert.deepEqual(trouble, []);
  await context.close();
});
