/** A stream through an exported model: the `Session` of the Python package `aaren_runtime`, in JavaScript. */

import * as ort from "onnxruntime-web/wasm";
import { readMetadata } from "./metadata.js";

export const FORMAT = 1;
const ARRAYS = { float32: Float32Array, float64: Float64Array, int64: BigInt64Array, bool: Uint8Array };

export class Session {
  /**
   * @param {ArrayBuffer} buffer content of a file that `aaren export --format onnx` wrote
   * @returns {Promise<Session>}
   * @throws {Error} it is not a whole file of aaren, or one of another version
   */
  static async open(buffer) {
    const content = new Uint8Array(buffer);
    let about;
    try {
      about = readMetadata(content);
    } catch {
      about = null;
    }
    if (about === null || typeof about !== "object") throw new Error("model must be a whole file that aaren exported, got something else");
    if (about.format !== FORMAT) {
      throw new Error(`format of the model must be ${FORMAT}, got ${about.format}; export it again`);
    }
    let model;
    try {
      model = await ort.InferenceSession.create(content, { executionProviders: ["wasm"], intraOpNumThreads: 1 });
    } catch (error) {
      if (/no available backend/.test(error.message)) throw new Error(`ONNX Runtime must be there: ${error.message}`);
      throw new Error(`model must be a whole ONNX file, got one that cannot be read (${error.message})`);
    }
    try {
      const session = new Session(model, about, fingerprint(content));
      const wanted = [...about.inputs, ...about.state].map((one) => one.name).sort();
      if (String(wanted) !== String([...model.inputNames].sort())) throw new Error("it has other inputs than it says");
      return session;
    } catch (error) {
      throw new Error(`model must be one that aaren exported, got one that is damaged: ${error.message}`);
    }
  }

  constructor(model, about, mark) {
    this.model = model;
    /** task, inputs, outputs, state and what belongs to the task, such as names of classes */
    this.about = about;
    this.mark = mark;
    this.reset();
  }

  /** Forgets everything. */
  reset() {
    this.steps = 0;
    this.state = Object.fromEntries(
      this.about.state.map((leaf) => [leaf.name, tensor(leaf, (array) => array.fill(initial(leaf)))]),
    );
  }

  /** Of the state, however long the stream. */
  get bytes() {
    return this.about.state.reduce((sum, leaf) => sum + size(leaf) * ARRAYS[leaf.dtype].BYTES_PER_ELEMENT, 0);
  }

  /**
   * Consumes one token. Calls must be awaited one after the other: each goes on from the state of the one before.
   *
   * @param {Object<string, number[]>} inputs numbers in the units of the data; NaN or null where one is missing
   * @returns {Promise<Object<string, Float32Array | Float64Array>>} the outputs, row by row
   * @throws {Error} an input that is missing, unknown, of another size or not finite, a time that does not follow; the
   *   stream stays as it was
   */
  async push(inputs) {
    const names = this.about.inputs.map((port) => port.name);
    const strange = Object.keys(inputs).find((name) => !names.includes(name));
    if (strange) throw new Error(`inputs must be ${names.join(", ")}, got ${strange}`);
    const given = Object.fromEntries(this.about.inputs.map((port) => [port.name, accepted(port, inputs[port.name])]));
    this.#checkTime(given.time);
    const results = await this.model.run({ ...given, ...this.state });
    const outputs = Object.fromEntries(this.about.outputs.map((port) => [port.name, results[port.name].data]));
    if (Object.values(outputs).some((array) => !array.every(Number.isFinite))) {
      throw new Error("inputs must be of the size of the training data, got some that overflow");
    }
    this.state = Object.fromEntries(this.about.state.map((leaf) => [leaf.name, results[leaf.next]]));
    this.steps += 1;
    return outputs;
  }

  #checkTime(time) {
    const before = this.state["state.time"];
    if (!time || !before || Number.isNaN(before.data[0])) return; // NaN: the first row
    const passed = time.data[0] - before.data[0];
    const { freq, step, ties } = this.about.about; // events may come at one time, rows may not
    if (passed < 0 || (!ties && passed === 0)) {
      throw new Error(`time must be later than the one before, got ${passed} after it`);
    }
    if (freq && Math.abs(passed - step) > 1e-3 * step) {
      throw new Error(`time must be one step, ${step}, later, got ${passed}; push rows left out as NaN`);
    }
  }

  /** The state as text: to keep, to send, to go on from elsewhere. */
  snapshot() {
    const leaves = this.about.state.map((leaf) => [leaf.name, toText(this.state[leaf.name].data)]);
    return JSON.stringify({ model: this.mark, steps: this.steps, state: Object.fromEntries(leaves) });
  }

  /**
   * @param {string} text of `snapshot`
   * @throws {Error} it is no snapshot, or one of another model; the stream stays as it was
   */
  restore(text) {
    let saved, state;
    try {
      saved = JSON.parse(text);
      if (!Number.isInteger(saved.steps)) throw new Error("no steps");
      state = this.about.state.map((leaf) => [leaf.name, tensor(leaf, (array) => fromText(saved.state[leaf.name], array))]);
    } catch {
      throw new Error("snapshot must be one of this model, got something else");
    }
    if (saved.model !== this.mark) throw new Error("snapshot must be of this model, got that of another");
    this.steps = saved.steps;
    this.state = Object.fromEntries(state);
  }
}

const size = (port) => port.shape.reduce((product, length) => product * length, 1);

function initial(leaf) {
  if (leaf.dtype === "int64") return BigInt(Number(leaf.initial));
  return { inf: Infinity, "-inf": -Infinity, nan: NaN }[leaf.initial] ?? Number(leaf.initial);
}

function tensor(port, fill) {
  const array = new ARRAYS[port.dtype](size(port));
  fill(array);
  return new ort.Tensor(port.dtype, array, [1, ...port.shape]);
}

function accepted(port, value) {
  if (value === undefined) throw new Error(`${port.name} must be given (${port.about}), got none`);
  const numbers = (Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value) : [value]).flat(Infinity);
  if (numbers.length !== size(port)) throw new Error(`${port.name} must be ${size(port)} numbers, got ${numbers.length}`);
  if (port.dtype === "int64") {
    if (!numbers.every(Number.isSafeInteger)) throw new Error(`${port.name} must be whole numbers, got ${numbers}`);
    return tensor(port, (target) => target.set(numbers.map(BigInt)));
  }
  const exact = (number) => (port.dtype === "float32" && typeof number === "number" ? Math.fround(number) : number);
  const array = numbers.map((number) => (number === null ? NaN : exact(number)));
  if (!array.every((number) => Number.isFinite(number) || (port.missing && Number.isNaN(number)))) {
    throw new Error(`${port.name} must be finite${port.missing ? ", or NaN" : ""}, got ${array}`);
  }
  return tensor(port, (target) => target.set(array));
}

function toText(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

function fromText(text, array) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  if (bytes.length !== array.byteLength) throw new Error("another size");
  new Uint8Array(array.buffer).set(bytes);
}

/** FNV-1a: tells models apart, no more. */
function fingerprint(content) {
  let hash = 0x811c9dc5;
  for (const byte of content) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}
