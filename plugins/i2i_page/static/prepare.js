/** From a picture file to what a network takes, and from what it gives to a PNG: the ways of ``i2i translate``. */

import { planesOf } from "./channels.js";
import { idsOf } from "./class-ids.js";
import { pngOf, pngOfClasses } from "./png-write.js";
import { readPicture } from "./read-picture.js";
import { bicubic, nearest, networkSize } from "./resample.js";

/**
 * @typedef {object} Sample what a network takes, before padding
 * @property {Float32Array} data (channels, height, width): in [-1, 1], or one-hot classes
 * @property {number} channels
 * @property {number[]} size (height, width)
 */

/**
 * @param {Blob} file
 * @param {object} domain of the description
 * @param {{pixels: number, computed: number}} limits of a file, and of what the network sees
 * @param {boolean} ownSize keep the file's size, even if the model's data set scaled its files
 * @returns {Promise<Sample>}
 * @throws {Error} with a sentence for people
 */
export async function prepared(file, domain, limits, ownSize) {
  const picture = await readPicture(file, limits.pixels), have = [picture.height, picture.width];
  const size = ownSize ? have : networkSize(domain.preparation, have);
  if (size[0] * size[1] > limits.computed) {
    throw new Error(
      `the network would see ${size[1]} x ${size[0]} pixels; the limit in a browser is ${limits.computed} pixels. Scale the ` +
        "picture down, or use `i2i translate`.",
    );
  }
  if (domain.kind === "labels") {
    const ids = idsOf(picture, domain);
    return { data: oneHot(resizedIds(ids, have, size), domain, size), channels: domain.channels, size };
  }
  const { data } = planesOf(picture, domain.channels, domain.preparation);
  return { data: finished(bicubicUnlessSame(data, domain.channels, have, size)), channels: domain.channels, size };
}

const same = (a, b) => a[0] === b[0] && a[1] === b[1];
const resizedIds = (ids, have, size) => (same(have, size) ? ids : nearest(ids, have, size));
const bicubicUnlessSame = (data, channels, have, size) => (same(have, size) ? data : bicubic(data, channels, have, size));

/** 0…255 or 0…1 to [-1, 1]. */
function finished(planes) {
  if (planes instanceof Uint8ClampedArray) return Float32Array.from(planes, (value) => Math.fround(value / 127.5) - 1);
  return Float32Array.from(planes, (value) => Math.min(1, Math.max(0, value)) * 2 - 1);
}

/**
 * Classes (height, width) to (channels, height, width): 1 in the plane of the class and 0 elsewhere. A domain with instances has
 * one plane more, which marks both sides of their borders; a picture shows no instances, so of the classes' borders.
 */
function oneHot(ids, { channels, classes }, [height, width]) {
  const made = new Float32Array(channels * ids.length), last = (channels - 1) * ids.length;
  ids.forEach((id, i) => { made[id * ids.length + i] = 1; });
  if (channels === classes.length) return made;
  const mark = (i, j) => { if (ids[i] !== ids[j]) made[last + i] = made[last + j] = 1; };
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (x) mark(i, i - 1);
      if (y) mark(i, i - width);
    }
  }
  return made;
}

/**
 * Mirror a sample at its edges, to sides that are multiples of the divisor (``i2i.translation.conversion.reflected``).
 *
 * @param {Sample} sample
 * @param {number} divisor
 * @returns {{data: Float32Array, dims: number[], at: number[]}} dims (1, channels, rows, columns); where the picture begins
 */
export function padded({ data, channels, size }, divisor) {
  const [down, across] = size.map((side) => reflected(side, divisor));
  const [rows, columns] = [down.places.length, across.places.length];
  const made = new Float32Array(channels * rows * columns);
  for (let c = 0, to = 0; c < channels; c++) {
    for (const y of down.places) {
      const row = (c * size[0] + y) * size[1];
      for (const x of across.places) made[to++] = data[row + x];
    }
  }
  return { data: made, dims: [1, channels, rows, columns], at: [down.before, across.before] };
}

/** The number of places before the picture along one side, and the pixel that each place shows. */
function reflected(side, divisor) {
  const smallest = Math.max(side, 16, Math.min(4 * divisor, 64)), full = Math.ceil(smallest / divisor) * divisor;
  const before = Math.floor((full - side) / 2), period = Math.max(2 * (side - 1), 1);
  const places = Array.from({ length: full }, (_, i) => {
    const place = (((i - before) % period) + period) % period;
    return side > 1 ? Math.min(place, period - place) : 0;
  });
  return { before, places };
}

/**
 * A PNG of what the network gives, without what was padded: an image, or a label map's numbers in its classes' colours.
 *
 * @param {Float32Array} made (1, channels, rows, columns): in [-1, 1], or scores of classes
 * @param {number[]} dims its dimensions
 * @param {number[]} at (top, left) of the picture
 * @param {number[]} size (height, width) of the picture
 * @param {object} domain of the description
 * @param {string} xmp the provenance
 * @returns {Promise<Blob>}
 */
export function pictureOf(made, dims, [top, left], [height, width], domain, xmp) {
  const place = (c, y, x) => made[(c * dims[2] + top + y) * dims[3] + left + x];
  if (domain.kind === "labels") {
    const ids = Uint16Array.from({ length: height * width }, (_, i) => likeliest(place, domain.classes.length, i, width));
    return pngOfClasses(ids, width, height, domain.classes, xmp);
  }
  const bytes = new Uint8ClampedArray(height * width * dims[1]);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      // This type of array rounds halves to the even number, as torch does, and takes NaN for 0.
      for (let c = 0; c < dims[1]; c++) bytes[at++] = Math.fround(Math.fround(place(c, y, x) + 1) * 127.5);
    }
  }
  return pngOf(bytes, width, height, dims[1], xmp);
}

/** The class of the largest score at one pixel, the first of several. */
function likeliest(place, count, i, width) {
  const y = Math.floor(i / width), x = i % width;
  let best = 0;
  for (let c = 1; c < count; c++) if (place(c, y, x) > place(best, y, x)) best = c;
  return best;
}
