/** The page: a shipped signal, row by row, through the model. */

import * as ort from "onnxruntime-web/wasm";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { draw } from "./chart.js";
import { Session } from "./session.js";

ort.env.wasm.wasmPaths = { wasm };
ort.env.wasm.numThreads = 1; // a token is too small to share

const WEEK = 7 * 24;
const DAY = 24;
const LOST = 0.3;
const find = (id) => document.getElementById(id);
const show = (name, text) => document.querySelectorAll(`[data-show=${name}]`).forEach((node) => (node.textContent = text));

let session, signal;
let rows = []; // {time, value, earlier, mean, low, high}: what came, what had been forecast, what is forecast
let number = 0; // of the next row
let playing = false;
let plays = 0; // a play that is sleeping as it is stopped must not go on with the next
let saved = null;
const times = [];

/** Consumes the next row of the signal; false at its end. */
async function next() {
  if (number >= signal.time.length) return false;
  const time = signal.time[number];
  const lost = find("lost").checked && Math.random() < LOST;
  const value = lost ? NaN : (signal.values[number][0] ?? NaN);
  const start = performance.now();
  const { forecast } = await session.push({ values: [value], time });
  times.push(performance.now() - start);
  number += 1;
  const [mean, low, high] = [0, 1, 2].map((which) => Array.from(forecast).filter((_, i) => i % 3 === which));
  const before = rows[rows.length - DAY];
  rows.push({ time, value, earlier: before ? before.mean[DAY - 1] : NaN, mean, low, high });
  return true;
}

function update() {
  const last = rows[rows.length - 1];
  draw(find("chart"), rows, last ?? null, signal.unit);
  show("steps", session.steps.toLocaleString("en"));
  show("bytes", `${session.bytes.toLocaleString("en")} bytes`);
  const recent = times.slice(-200).sort((a, b) => a - b);
  show("time", recent.length ? `${(1000 * recent[recent.length >> 1]).toFixed(0)} µs` : "–");
  const start = Math.max(rows.length - WEEK, DAY);
  const pairs = rows.slice(start).map((row, i) => ({ ...row, yesterday: rows[start + i - DAY].value }));
  const both = pairs.filter((row) => [row.value, row.earlier, row.yesterday].every(Number.isFinite));
  const error = (name) => both.reduce((sum, row) => sum + Math.abs(row.value - row[name]), 0) / both.length;
  show("mae", both.length ? `${error("earlier").toFixed(2)} ${signal.unit}` : "–");
  show("naive", both.length ? `${error("yesterday").toFixed(2)} ${signal.unit}` : "–");
  find("restore").disabled = playing || saved === null;
  for (const id of ["save", "reset"]) find(id).disabled = playing;
  find("step").disabled = playing || number >= signal.time.length;
}

async function play() {
  playing = !playing;
  plays += 1;
  const own = plays;
  if (playing && number >= signal.time.length) [number, rows] = [0, []];
  if (playing && number === 0) session.reset();
  find("play").textContent = playing ? "Pause" : "Play";
  update();
  let due = performance.now();
  try {
    while (playing && own === plays && (await next())) {
      update();
      due = Math.max(due + 1000 / Number(find("speed").value), performance.now());
      await new Promise((done) => setTimeout(done, due - performance.now()));
    }
  } finally {
    if (own === plays) {
      playing = false;
      find("play").textContent = "Play";
      update();
    }
  }
}

function save() {
  saved = { text: session.snapshot(), rows: [...rows], number };
  find("status").textContent = `State after ${session.steps.toLocaleString("en")} rows saved.`;
  update();
}

function restore() {
  session.restore(saved.text);
  rows = [...saved.rows];
  number = saved.number;
  find("status").textContent = `Back at row ${session.steps.toLocaleString("en")}.`;
  update();
}

/** The signal goes on: see how the model learns it anew. */
function forget() {
  session.reset();
  find("status").textContent = "The past is forgotten; the signal goes on.";
  update();
}

async function start() {
  const [model, stream] = await Promise.all(["model.onnx", "stream.json"].map((name) => fetch(name)));
  if (!model.ok || !stream.ok) throw new Error("model.onnx and stream.json must lie beside the page; run make_model.py");
  signal = await stream.json();
  session = await Session.open(await model.arrayBuffer());
  await session.push({ values: [NaN], time: signal.time[0] }); // the first call prepares the kernels
  session.reset();
  find("play").onclick = () => play().catch(report);
  find("step").onclick = () => next().then(update, report);
  find("save").onclick = save;
  find("restore").onclick = restore;
  find("reset").onclick = forget;
  find("play").disabled = false;
  new ResizeObserver(update).observe(find("chart"));
  window.demo = { Session, session }; // for the console, and the test
  update();
}

function report(error) {
  find("error").textContent = error.message;
  find("error").hidden = false;
}

start().catch(report);
