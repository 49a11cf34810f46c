/** From a file's channels to those of a domain, as ``i2i.pictures.reading`` and ``.arrays`` do it. */

/** ITU-R 601-2, in 65536ths, as Pillow has them. */
const LUMA = [19595, 38470, 7471];

/**
 * @typedef {object} Planes
 * @property {Uint8ClampedArray | Float32Array} data (channels, height, width): 0…255, or 0…1 in floats
 * @property {number} height
 * @property {number} width
 */

/**
 * @param {import("./png-read.js").Picture} picture
 * @param {number} channels those of the domain, 1 to 4
 * @param {{alpha: "white" | "black" | "drop", range: number[] | null}} preparation
 * @returns {Planes}
 */
export function planesOf(picture, channels, preparation) {
  const { width, height } = picture;
  const made = picture.depth === 16 ? deep(picture, channels, preparation) : shallow(picture, channels, preparation);
  const data = new made.constructor(made.length), pixels = width * height;
  for (let i = 0, at = 0; i < pixels; i++) for (let c = 0; c < channels; c++) data[c * pixels + i] = made[at++];
  return { data, height, width };
}

/** 8 bits, (height, width, channels): 0…255, or 0…1 in floats if the domain declares a range. */
function shallow(picture, channels, { alpha, range }) {
  const opaque = channels % 2 === 1 && picture.channels % 2 === 0;
  const from = opaque ? laid(picture, alpha) : picture;
  const made = converted(from.data, from.channels, channels);
  return range ? scaled(made, range) : made;
}

/** Transparent pixels laid on a background, rounded as Pillow does, or without their transparency. */
function laid({ data, channels }, alpha) {
  const colors = channels - 1, ground = alpha === "white" ? 255 : 0;
  const made = new Uint8ClampedArray((data.length / channels) * colors);
  for (let from = 0, to = 0; from < data.length; from += channels) {
    const share = alpha === "drop" ? 255 : data[from + colors];
    for (let c = 0; c < colors; c++) made[to++] = Math.round((data[from + c] * share + ground * (255 - share)) / 255);
  }
  return { data: made, channels: colors };
}

/** 8 bits from *have* to *want* channels: colours to grey, grey repeated, opaque where nothing is said of transparency. */
function converted(data, have, want) {
  const made = new Uint8ClampedArray((data.length / have) * want), grey = have < 3;
  for (let from = 0, to = 0; from < data.length; from += have, to += want) {
    const [r, g, b] = grey ? [data[from], data[from], data[from]] : [data[from], data[from + 1], data[from + 2]];
    if (want >= 3) made.set([r, g, b], to);
    else made[to] = grey ? r : (r * LUMA[0] + g * LUMA[1] + b * LUMA[2] + 0x8000) >> 16;
    if (want % 2 === 0) made[to + want - 1] = have % 2 === 0 ? data[from + have - 1] : 255;
  }
  return made;
}

/** 16 bits in floats 0…1, (height, width, channels). */
function deep(picture, channels, { alpha, range }) {
  const values = scaled(picture.data, range ?? [0, 65535]), have = picture.channels;
  if (have === channels) return values;
  const made = new Float32Array((values.length / have) * channels), ground = alpha === "white" ? 1 : 0;
  const colors = have % 2 === 0 && channels % 2 === 1 ? have - 1 : have;
  if (channels % 2 === 0) throw new Error(`the picture has ${have} channels of 16 bits, not ${channels}. Give one of 8 bits.`);
  for (let from = 0, to = 0; from < values.length; from += have, to += channels) {
    const share = colors < have && alpha !== "drop" ? values[from + colors] : 1;
    const color = (c) => values[from + (colors === 1 ? 0 : c)] * share + ground * (1 - share);
    if (channels === 3) made.set([color(0), color(1), color(2)], to);
    else made[to] = colors === 1 ? color(0) : 0.299 * color(0) + 0.587 * color(1) + 0.114 * color(2);
  }
  return made;
}

/** The two values of the range become 0 and 1; what lies outside is clipped. */
function scaled(data, [black, white]) {
  return Float32Array.from(data, (value) => Math.min(1, Math.max(0, (value - black) / (white - black))));
}
