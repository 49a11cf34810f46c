/** onnxruntime-web: which of its two builds this browser runs, and starting it. */

import { fetched } from "./fetched.js";

/** A module whose only function computes with 16-byte vectors; without them the runtime does not start. */
const VECTORS = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
];
const ONE_THREAD = "computing with WebAssembly on one thread";

/**
 * @typedef {object} Choice
 * @property {"webgpu" | "wasm"} name
 * @property {string} note what is computed with, and why, for people
 */

/**
 * @param {object} runtime the manifest's entry: its builds by name
 * @param {string | null} wanted "webgpu" or "wasm", if the address says ?compute=…
 * @returns {Promise<Choice>}
 * @throws {Error} with a sentence, if this browser has neither
 */
export async function choose(runtime, wanted) {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(new Uint8Array(VECTORS))) {
    throw new Error("this browser cannot compute the model: it lacks WebAssembly with SIMD. Use a browser of 2023 or later.");
  }
  const lacks = wanted === "wasm" ? "as the page's address asks" : await lacking(runtime, wanted === "webgpu");
  return lacks ? { name: "wasm", note: `${ONE_THREAD}: ${lacks}` } : { name: "webgpu", note: "computing with WebGPU" };
}

/** Why WebGPU is not used, or null. An adapter in software is slower than WebAssembly. */
async function lacking(runtime, software) {
  if (!runtime.webgpu) return "this page came without the part for WebGPU";
  if (!self.navigator?.gpu) return "this browser has no WebGPU";
  if (!WebAssembly.Suspending) return "this browser's WebGPU cannot be used yet (it lacks JavaScript Promise Integration)";
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  if (!adapter) return "this browser's WebGPU found no graphics card";
  return adapter.info?.isFallbackAdapter && !software ? "this browser's WebGPU computes in software" : null;
}

/**
 * @param {object} runtime the manifest's entry
 * @param {"webgpu" | "wasm"} name of the build
 * @param {string} base the folder's address
 * @param {string} cache
 * @param {(bytes: number) => void} more
 * @returns {Promise<object>} the module onnxruntime-web
 */
export async function start(runtime, name, base, cache, more) {
  const place = new URL(runtime.base, base);
  const [code, binary] = await Promise.all(
    [runtime[name].module, runtime[name].binary].map((listed) => fetched(new URL(listed.file, place).href, listed, cache, more)),
  );
  const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" })); // whatever type the host names
  const ort = await import(address).finally(() => URL.revokeObjectURL(address));
  ort.env.wasm.wasmBinary = binary;
  ort.env.wasm.numThreads = 1; // more need headers that static hosts do not send
  ort.env.logLevel = "error";
  return ort;
}
