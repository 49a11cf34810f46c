/**
 * PNG files byte by byte: exact numbers in and out (a canvas would write colours, and may change what it reads), and the
 * provenance statement. Only what the page needs; other files are left to the browser.
 */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const STATEMENT = 'XML:com.adobe.xmp';
const LARGEST = 2 ** 26; // pixels

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

/**
 * @typedef {object} Decoded
 * @property {number} width
 * @property {number} height
 * @property {number} channels  1 grey or places in the palette, 2 grey and alpha, 3 RGB, 4 RGBA
 * @property {Uint8Array|Uint16Array} values  width * height * channels, unscaled
 * @property {number[][]|null} palette  [red, green, blue] for each place
 */

/** The numbers in a PNG; null if the blob is no PNG, or an interlaced one. @returns {Promise<Decoded|null>} */
export async function decode(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  if (!isPng(bytes)) return null;
  const all = chunks(bytes);
  const head = all.find((chunk) => chunk.type === 'IHDR');
  if (!head || head.data.length < 13) return null;
  const view = new DataView(head.data.buffer, head.data.byteOffset);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [depth, color, interlaced] = [head.data[8], head.data[9], head.data[12]];
  if (interlaced || !CHANNELS[color] || !width || !height || width * height > LARGEST) return null;
  const packed = all.filter((chunk) => chunk.type === 'IDAT').map((chunk) => chunk.data);
  const channels = CHANNELS[color];
  const stride = Math.ceil((width * channels * depth) / 8);
  const rows = await inflated(new Blob(packed), (stride + 1) * height);
  if (!rows) return null;
  const lines = unfiltered(rows, height, stride, Math.max((channels * depth) >> 3, 1));
  return { width, height, channels, values: unpacked(lines, width * channels, height, depth), palette: palette(all, color) };
}

/** The blob with an XMP packet in a text chunk of its own; one that is there is replaced. Throws if it is no PNG. */
export async function withProvenance(blob, xmp) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  if (!isPng(bytes)) throw new Error('The result is no PNG, so the provenance statement cannot be written into it.');
  const kept = chunks(bytes).filter((chunk) => !(chunk.type === 'iTXt' && text(chunk.data).startsWith(`${STATEMENT}\0`)));
  const said = new TextEncoder().encode(`${STATEMENT}\0\0\0\0\0${xmp}`);
  const [head, ...rest] = kept.map((chunk) => bytes.subarray(chunk.start, chunk.end));
  return new Blob([bytes.subarray(0, 8), head, chunk('iTXt', said), ...rest], { type: 'image/png' });
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
  const packed = new Uint8Array(await new Response(through(new Blob([rows]), new CompressionStream('deflate'))).arrayBuffer());
  const parts = [new Uint8Array(SIGNATURE), chunk('IHDR', head), chunk('IDAT', packed), chunk('IEND', new Uint8Array())];
  return new Blob(parts, { type: 'image/png' });
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

function through(blob, stream) {
  return blob.stream().pipeThrough(stream);
}

/** The first *size* bytes that the blob unpacks to, never more; null if there are fewer. */
async function inflated(blob, size) {
  const made = new Uint8Array(size);
  const reader = through(blob, new DecompressionStream('deflate')).getReader();
  let filled = 0;
  try {
    while (filled < size) {
      const { value, done } = await reader.read();
      if (done) return null;
      made.set(value.subarray(0, size - filled), filled);
      filled += value.length;
    }
    await reader.cancel();
  } catch {
    return filled >= size ? made : null; // damaged
  }
  return made;
}

/** Undoes the filters of the rows (PNG specification, section 9). `step` is the bytes of a pixel. */
function unfiltered(rows, height, stride, step) {
  const made = new Uint8Array(stride * height);
  for (let y = 0; y < height; y += 1) {
    const kind = rows[y * (stride + 1)];
    for (let x = 0; x < stride; x += 1) {
      const at = y * stride + x;
      const left = x >= step ? made[at - step] : 0;
      const up = y ? made[at - stride] : 0;
      const corner = y && x >= step ? made[at - stride - step] : 0;
      made[at] = rows[y * (stride + 1) + 1 + x] + [0, left, up, (left + up) >> 1, paeth(left, up, corner)][kind];
    }
  }
  return made;
}

function paeth(left, up, corner) {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

/** Numbers of 1, 2, 4, 8 or 16 bits, `count` in each row, one by one. */
function unpacked(lines, count, height, depth) {
  if (depth === 8) return lines;
  const made = new (depth === 16 ? Uint16Array : Uint8Array)(count * height);
  const stride = lines.length / height;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < count; x += 1) {
      const bit = x * depth;
      const at = y * stride + (bit >> 3);
      const low = lines[at] >> (8 - depth - (bit & 7));
      made[y * count + x] = depth === 16 ? (lines[at] << 8) | lines[at + 1] : low & ((1 << depth) - 1);
    }
  }
  return made;
}

function palette(all, color) {
  const found = color === 3 && all.find((chunk) => chunk.type === 'PLTE');
  if (!found) return null;
  return Array.from({ length: Math.floor(found.data.length / 3) }, (_, place) => [
    ...found.data.subarray(3 * place, 3 * place + 3),
  ]);
}
