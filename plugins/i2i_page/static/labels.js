/**
 * Label maps: from files to the places of their classes, and back to files of exactly the numbers or colours that the model
 * reads. The rules are those of `i2i.pictures.labels`.
 *
 * @typedef {{name: string, color: string, value: number}} Class
 */
import { idsOf } from "./class-ids.js";
import { pngOf } from "./png-write.js";
import { Raster } from "./raster.js";
import { readPicture } from "./read-picture.js";

/** [red, green, blue] of "#rrggbb". */
function rgbOf(color) {
  return [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));
}

/** Black or white, whichever is easier to read on the colour. */
export function inkOn(color) {
  const [red, green, blue] = rgbOf(color).map((value) => (value / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.2 ? "#000" : "#fff";
}

/** For each class the pixel that shows it, as one number of a canvas's memory. @param {Class[]} classes */
export function tableOf(classes) {
  return Uint32Array.from(classes, ({ color }) => pixel(rgbOf(color)));
}

function pixel([red, green, blue]) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** The file that the model reads. @param {Raster} raster  places of classes  @param {object} domain */
export async function labelFile(raster, domain) {
  const { width, height, values } = raster;
  if (domain.preparation.colored) {
    const colors = domain.classes.map(({ color }) => rgbOf(color));
    const rgb = new Uint8Array(values.length * 3);
    values.forEach((value, place) => rgb.set(colors[value], place * 3));
    return pngOf(rgb, width, height, 3);
  }
  const numbers = domain.classes.map(({ value }) => value);
  const made = new (Math.max(...numbers) > 255 ? Uint16Array : Uint8Array)(values.length);
  values.forEach((value, place) => (made[place] = numbers[value]));
  return pngOf(made, width, height, 1);
}

/**
 * The places of the classes in a label file of a person's or of the samples.
 *
 * @param {number} pixels  the most that are read
 * @returns {Promise<Raster>}
 * @throws {Error} if it is no picture, or holds a number or colour that is no class's
 */
export async function readLabels(blob, domain, pixels) {
  const picture = await readPicture(blob, pixels);
  const ids = idsOf(picture, domain);
  return new Raster(picture.width, picture.height, domain.classes.length > 255 ? ids : Uint8Array.from(ids));
}
