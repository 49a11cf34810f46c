/**
 * PNG files that the page writes: exact numbers, where a canvas would write colours, and the statement of provenance in a file
 * that is there already.
 */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const STATEMENT = "XML:com.adobe.xmp";

/** Whole numbers as a grey PNG of 8 bits, or 16. @param {Uint8Array|Uint16Array} values */
export async function encodeGrey(values, width, height) {
  const deep = values.BYTES_PER_ELEMENT === 2;
  const stride = width * (deep ? 2 : 1);
  const rows = new Uint8Array((stride + 1) * height);
  for (let y = 0; y < height; y += 1) {
    const start = y * (stride + 1) + 1;
    const row = values.subarray(y * width, (y + 1) * width);
    if (!deep) rows.set(row, start);
    else row.forEach((value, x) => rows.set([value >> 8, value & 255], start + 2 * x));
  }
  return file(width, height, deep ? 16 : 8, 0, rows);
}

/** Pixels of three channels as an RGB PNG of 8 bits. @param {Uint8Array} rgb  width * height * 3 */
export async function encodeRgb(rgb, width, height) {
  const stride = width * 3;
  const rows = new Uint8Array((stride + 1) * height);
  for (let y = 0; y < height; y += 1) rows.set(rgb.subarray(y * stride, (y + 1) * stride), y * (stride + 1) + 1);
  return file(width, height, 8, 2, rows);
}

/** The blob with an XMP packet in a text chunk of its own; one that is there is replaced. Throws if it is no PNG. */
export async function withProvenance(blob, xmp) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  if (!isPng(bytes)) throw new Error("The result is no PNG, so the provenance statement cannot be written into it.");
  const kept = chunks(bytes).filter((chunk) => !(chunk.type === "iTXt" && text(chunk.data).startsWith(`${STATEMENT}\0`)));
  const said = new TextEncoder().encode(`${STATEMENT}\0\0\0\0\0${xmp}`);
  const [head, ...rest] = kept.map((chunk) => bytes.subarray(chunk.start, chunk.end));
  return new Blob([bytes.subarray(0, 8), head, chunk("iTXt", said), ...rest], { type: "image/png" });
}

function isPng(bytes) {
  return SIGNATURE.every((value, place) => bytes[place] === value);
}

function text(bytes) {
  return String.fromCharCode(...bytes.subarray(0, 32));
}

/** The chunks of a file, up to its end or to the first that is cut off. */
function chunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found = [];
  for (let start = 8; start + 12 <= bytes.length;) {
    const end = start + 12 + view.getUint32(start);
    if (end > bytes.length) break;
    found.push({
      type: String.fromCharCode(...bytes.subarray(start + 4, start + 8)),
      data: bytes.subarray(start + 8, end - 4),
      start,
      end,
    });
    start = end;
  }
  return found;
}

async function file(width, height, depth, color, rows) {
  const head = new Uint8Array(13);
  const view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head.set([depth, color], 8);
  const stream = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const parts = [new Uint8Array(SIGNATURE), chunk("IHDR", head), chunk("IDAT", packed), chunk("IEND", new Uint8Array())];
  return new Blob(parts, { type: "image/png" });
}

function chunk(type, data) {
  const made = new Uint8Array(data.length + 12);
  const view = new DataView(made.buffer);
  view.setUint32(0, data.length);
  made.set(
    [...type].map((letter) => letter.charCodeAt(0)),
    4,
  );
  made.set(data, 8);
  view.setUint32(data.length + 8, crc(made.subarray(4, data.length + 8)));
  return made;
}

const CRCS = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc(bytes) {
  let sum = 0xffffffff;
  for (const value of bytes) sum = CRCS[(sum ^ value) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
