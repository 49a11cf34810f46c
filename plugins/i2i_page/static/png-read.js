/**
 * PNG files as the numbers that they hold. A browser's own decoder gives colours on a canvas: it loses which of a palette's
 * places a pixel names, 16 bits, and the colour under transparent pixels. Label maps are such numbers.
 */
import { SIGNATURE } from "./png-write.js";

/** Samples of a pixel by PNG's colour type. */
const SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
/** Adam7: for each pass its first column and row, and the distances of columns and rows. */
const PASSES = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

/**
 * @typedef {object} Picture
 * @property {number} width
 * @property {number} height
 * @property {number} channels 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA
 * @property {number} depth bits of a sample: 1 (0 or 255), 8 or 16
 * @property {Uint8Array | Uint16Array} data (height, width, channels), 0…255 or 0…65535
 * @property {Uint8Array} [indices] (height, width), where the file has a palette
 * @property {Uint8Array} [palette] (256, 4), RGBA
 */

/** @param {Uint8Array} bytes @returns {boolean} */
export const isPng = (bytes) => SIGNATURE.every((byte, i) => bytes[i] === byte);

/**
 * @param {Uint8Array} bytes a whole file
 * @param {number} pixels the most pixels to decode
 * @returns {Promise<Picture>}
 * @throws {Error} with a sentence, for a file that is corrupt, truncated or too large
 */
export async function readPng(bytes, pixels) {
  const { head, palette, data } = chunks(bytes);
  const { width, height, depth, type, interlaced } = head;
  if (!SAMPLES[type] || width < 1 || height < 1) throw new Error("the PNG is corrupt. Replace the file.");
  if (width * height > pixels) {
    throw new Error(`the picture is too large: ${width} x ${height} pixels; the limit is ${pixels} pixels. Scale it down.`);
  }
  const parts = interlaced ? PASSES.map((pass) => part(pass, width, height)) : [{ width, height, at: [0, 0, 1, 1] }];
  const bits = SAMPLES[type] * depth;
  const size = parts.reduce((sum, p) => sum + (p.width ? p.height * (1 + Math.ceil((p.width * bits) / 8)) : 0), 0);
  const raw = await inflated(data, size);
  const samples = new (depth === 16 ? Uint16Array : Uint8Array)(width * height * SAMPLES[type]);
  let start = 0;
  for (const p of parts.filter((one) => one.width && one.height)) {
    const next = unfiltered(raw, start, p.width, p.height, bits);
    spread(raw, start, p, depth, SAMPLES[type], samples, width);
    start = next;
  }
  return finished(samples, head, palette);
}

/** The chunks that matter, of which the data are one array. */
function chunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const palette = new Uint8Array(1024).fill(255);
  let head = {}, key = null;
  const data = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at), name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (name === "IHDR" && length >= 13) {
      head = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), depth: body[8], type: body[9], interlaced: body[12] };
    } else if (name === "PLTE") {
      for (let i = 0; i * 3 + 2 < body.length; i++) palette.set(body.subarray(i * 3, i * 3 + 3), i * 4);
    } else if (name === "tRNS") key = body;
    else if (name === "IDAT") data.push(body);
    else if (name === "IEND") break;
    at += 12 + length;
  }
  if (head.type === 3 && key) key.forEach((alpha, i) => { palette[i * 4 + 3] = alpha; });
  return { head: { ...head, key: head.type === 3 ? null : key }, palette, data };
}

/** Of one pass the number of its columns and rows, and where they lie. */
function part(pass, width, height) {
  const [x, y, dx, dy] = pass;
  return { width: Math.max(0, Math.ceil((width - x) / dx)), height: Math.max(0, Math.ceil((height - y) / dy)), at: pass };
}

/** So many bytes of a zlib stream; more are not decompressed. */
async function inflated(data, size) {
  const found = new Uint8Array(size);
  const reader = new Blob(data).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  let got = 0;
  try {
    while (got < size) {
      const { done, value } = await reader.read();
      if (done) break;
      found.set(value.subarray(0, size - got), got);
      got += value.length;
    }
  } catch {
    got = -1;
  }
  if (got < size) throw new Error("the PNG is corrupt or truncated. Replace the file.");
  reader.cancel().catch(() => {});
  return found;
}

/** Undo the filters of one pass in its place; where the next one begins. A row becomes one byte of filter and its bytes. */
function unfiltered(raw, start, width, height, bits) {
  const row = Math.ceil((width * bits) / 8), step = Math.max(1, bits >> 3);
  for (let y = 0; y < height; y++) {
    const at = start + y * (row + 1) + 1, above = y ? at - row - 1 : -1;
    unfilter(raw, raw[at - 1], at, above, row, step);
  }
  return start + height * (row + 1);
}

/** Filters 0 to 4 of the PNG specification, section 9: nothing, left, above, their mean, Paeth. */
function unfilter(raw, filter, at, above, row, step) {
  if (filter === 0) return;
  if (filter > 4) throw new Error("the PNG is corrupt: it has an unknown filter. Replace the file.");
  for (let i = 0; i < row; i++) {
    const a = i >= step ? raw[at + i - step] : 0, b = above < 0 ? 0 : raw[above + i];
    const c = above < 0 || i < step ? 0 : raw[above + i - step];
    raw[at + i] += filter === 1 ? a : filter === 2 ? b : filter === 3 ? (a + b) >> 1 : paeth(a, b, c);
  }
}

function paeth(a, b, c) {
  const pa = Math.abs(b - c), pb = Math.abs(a - c), pc = Math.abs(a + b - 2 * c);
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/** The rows of one pass to their places in *samples*, (height, width, count). */
function spread(raw, start, p, depth, count, samples, width) {
  const row = Math.ceil((p.width * count * depth) / 8), [left, top, dx, dy] = p.at, mask = (1 << Math.min(depth, 8)) - 1;
  for (let y = 0; y < p.height; y++, start += row + 1) {
    for (let x = 0; x < p.width; x++) {
      const to = ((top + y * dy) * width + left + x * dx) * count;
      for (let c = 0; c < count; c++) {
        const bit = (x * count + c) * depth, at = start + 1 + (bit >> 3);
        samples[to + c] = depth === 16 ? (raw[at] << 8) | raw[at + 1] : (raw[at] >> (8 - depth - (bit & 7))) & mask;
      }
    }
  }
}

/** @returns {Picture} */
function finished(samples, head, palette) {
  const { width, height, depth, type, key } = head;
  if (type === 3) {
    const data = new Uint8Array(width * height * 4);
    samples.forEach((index, i) => data.set(palette.subarray(index * 4, index * 4 + 4), i * 4));
    return { width, height, depth: 8, channels: 4, data, indices: samples, palette };
  }
  const keyed = key && depth < 16 ? withKey(samples, SAMPLES[type], key) : samples;
  const scale = depth < 8 ? 255 / ((1 << depth) - 1) : 1;
  const channels = SAMPLES[type] + (keyed === samples ? 0 : 1);
  if (scale !== 1) for (let i = 0; i < keyed.length; i++) if (channels === 1 || i % 2 === 0) keyed[i] *= scale;
  return { width, height, depth: depth === 1 ? 1 : Math.max(depth, 8), channels, data: keyed };
}

/** One more sample in each pixel: 0 where it has the transparent colour, else 255. */
function withKey(samples, count, key) {
  const wanted = Array.from({ length: count }, (_, c) => (key[2 * c] << 8) | key[2 * c + 1]);
  const made = new Uint8Array((samples.length / count) * (count + 1));
  for (let from = 0, to = 0; from < samples.length; from += count, to += count + 1) {
    const same = wanted.every((value, c) => samples[from + c] === value);
    for (let c = 0; c < count; c++) made[to + c] = samples[from + c];
    made[to + count] = same ? 0 : 255;
  }
  return made;
}
