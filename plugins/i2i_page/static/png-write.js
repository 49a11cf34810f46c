/**
 * PNG files from exact numbers: a canvas would round colours under transparency, and knows no palettes and no 16 bits. *xmp* is a
 * packet that says how a picture was made.
 */

/** The name of the text chunk that holds XMP. */
export const STATEMENT = "XML:com.adobe.xmp";
export const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CRC = new Uint32Array(256).map((_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});
/** PNG's colour types by the number of channels. */
const TYPES = { 1: 0, 2: 4, 3: 2, 4: 6 };

/**
 * @param {Uint8Array | Uint8ClampedArray | Uint16Array} data (height, width, channels); 16 bits if it is grey
 * @param {number} width
 * @param {number} height
 * @param {number} channels 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA
 * @param {string | null} xmp
 * @returns {Promise<Blob>}
 */
export function pngOf(data, width, height, channels, xmp = null) {
  const more = xmp === null ? [] : [statement(xmp)];
  if (data.BYTES_PER_ELEMENT === 1) return written({ width, height, depth: 8, type: TYPES[channels] }, data, channels, more);
  const bytes = new Uint8Array(data.length * 2); // the high one first
  data.forEach((value, i) => bytes.set([value >> 8, value & 255], i * 2));
  return written({ width, height, depth: 16, type: 0 }, bytes, 2, more);
}

/**
 * A label map as i2i writes it: the classes' numbers as places of a palette of their colours, or 16-bit greys.
 *
 * @param {Uint16Array} ids (height, width), classes
 * @param {number} width
 * @param {number} height
 * @param {{value: number, color: string}[]} classes for each class its number, 0…65535, and its colour as #rrggbb
 * @param {string} xmp
 * @returns {Promise<Blob>}
 */
export function pngOfClasses(ids, width, height, classes, xmp) {
  const most = Math.max(...classes.map((one) => one.value));
  if (most > 255) return pngOf(ids.map((id) => classes[id].value), width, height, 1, xmp);
  const palette = new Uint8Array((most + 1) * 3);
  for (const { value, color } of classes) palette.set([1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)), value * 3);
  const numbers = Uint8Array.from(ids, (id) => classes[id].value);
  return written({ width, height, depth: 8, type: 3 }, numbers, 0, [statement(xmp), chunk("PLTE", palette)]);
}

/** The file; *step* is the bytes of a pixel, from which the one on its left is subtracted, or 0 for no filter. */
async function written({ width, height, depth, type }, data, step, more) {
  const head = new Uint8Array(13), view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head.set([depth, type], 8);
  const stream = new Blob([filtered(data, height, step)]).stream().pipeThrough(new CompressionStream("deflate"));
  const body = new Uint8Array(await new Response(stream).arrayBuffer());
  const parts = [chunk("IHDR", head), ...more, chunk("IDAT", body), chunk("IEND", new Uint8Array(0))];
  return new Blob([new Uint8Array(SIGNATURE), ...parts], { type: "image/png" });
}

function filtered(data, height, step) {
  const row = data.length / height, made = new Uint8Array(height * (row + 1));
  for (let y = 0; y < height; y++) {
    const from = y * row, to = y * (row + 1) + 1;
    made[to - 1] = step ? 1 : 0;
    for (let i = 0; i < row; i++) made[to + i] = data[from + i] - (step && i >= step ? data[from + i - step] : 0);
  }
  return made;
}

/** The text chunk that XMP's specification names: no compression, no language. */
export const statement = (xmp) => chunk("iTXt", new TextEncoder().encode(`${STATEMENT}\0\0\0\0\0${xmp}`));

/** One chunk of a file: its length, name, body and checksum. */
function chunk(name, body) {
  const made = new Uint8Array(body.length + 12), view = new DataView(made.buffer);
  view.setUint32(0, body.length);
  made.set([...name].map((letter) => letter.charCodeAt(0)), 4);
  made.set(body, 8);
  let crc = 0xffffffff;
  for (const byte of made.subarray(4, body.length + 8)) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  view.setUint32(body.length + 8, ~crc);
  return made;
}
