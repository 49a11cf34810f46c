/**
 * Label maps: from files to the places of their classes, and back to files of exactly the numbers or colours that the model
 * reads. The rules are those of `i2i.pictures.labels`.
 *
 * @typedef {{name: string, color: string, value: number}} Class
 */
import { decode, encodeGrey, encodeRgb } from './png.js';
import { pixelsOf } from './pictures.js';
import { Raster } from './raster.js';

/** What a raster holds where a pixel has no class. */
const NONE = 65535;

/** [red, green, blue] of "#rrggbb". */
export function rgbOf(color) {
  return [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));
}

/** Black or white, whichever is easier to read on the colour. */
export function inkOn(color) {
  const [red, green, blue] = rgbOf(color).map((value) => (value / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.2 ? '#000' : '#fff';
}

/** For each class the pixel that shows it, as one number of a canvas's memory. @param {Class[]} classes */
export function tableOf(classes) {
  return Uint32Array.from(classes, ({ color }) => pixel(rgbOf(color)));
}

function pixel([red, green, blue], alpha = 255) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** The file that the model reads. @param {Raster} raster  places of classes  @param {object} domain */
export async function labelFile(raster, domain) {
  const { width, height, values } = raster;
  if (domain.preparation.colored) {
    const colors = domain.classes.map(({ color }) => rgbOf(color));
    const rgb = new Uint8Array(values.length * 3);
    values.forEach((value, place) => rgb.set(colors[value], place * 3));
    return encodeRgb(rgb, width, height);
  }
  const numbers = domain.classes.map(({ value }) => value);
  const made = new (Math.max(...numbers) > 255 ? Uint16Array : Uint8Array)(values.length);
  values.forEach((value, place) => (made[place] = numbers[value]));
  return encodeGrey(made, width, height);
}

/**
 * The places of the classes in a label file of a person's or of the samples.
 *
 * @returns {Promise<Raster>}
 * @throws {Error} with a sentence, if it holds a number or colour that is no class's
 */
export async function readLabels(blob, domain) {
  if (blob.type === 'image/jpeg') {
    throw new Error('This label map is a JPEG, whose compression changes the classes. Give the PNG that it was made from.');
  }
  const file = await decode(blob);
  const raster = file && file.channels === 1 && !domain.preparation.colored ? byNumber(file, domain) : null;
  return raster ?? byColor(await colorsOf(file, blob), domain);
}

/** Pixels of three channels of a file, without a canvas where that is possible. */
async function colorsOf(file, blob) {
  if (file && file.values.BYTES_PER_ELEMENT === 1) {
    const { width, height, values, channels, palette } = file;
    const rgb = new Uint8Array(width * height * 3);
    for (let place = 0; place < width * height; place += 1) {
      if (palette) rgb.set(palette[values[place]] ?? [0, 0, 0], 3 * place);
      else if (channels < 3) rgb.fill(values[place * channels], 3 * place, 3 * place + 3);
      else rgb.set(values.subarray(place * channels, place * channels + 3), 3 * place);
    }
    return { width, height, rgb };
  }
  const { width, height, data } = await pixelsOf(blob);
  const rgb = new Uint8Array(width * height * 3);
  for (let place = 0; place < width * height; place += 1) rgb.set(data.subarray(4 * place, 4 * place + 3), 3 * place);
  return { width, height, rgb };
}

/** null if the places of a palette are no numbers, because its colours say other classes. */
function byNumber({ width, height, values, palette }, domain) {
  const classes = classOfNumbers(domain);
  if (palette && !numbered(values, palette, classes, domain)) return null;
  const raster = Raster.filled(width, height, 0, domain.classes.length);
  const wrong = new Map();
  values.forEach((value, place) => {
    const found = classes(value);
    if (found === NONE) wrong.set(value, (wrong.get(value) ?? 0) + 1);
    else raster.values[place] = found;
  });
  if (wrong.size) {
    const shown = [...wrong.keys()].slice(0, 5).join(', ');
    throw new Error(`This label map holds numbers that are no class of “${domain.name}”: ${shown}. Correct the map.`);
  }
  return raster;
}

/** number -> place of its class, or NONE */
function classOfNumbers({ classes, preparation }) {
  const listed = new Map(preparation.values);
  return (value) => {
    const found = listed.get(value) ?? value + preparation.offset;
    return found >= 0 && found < classes.length ? found : NONE;
  };
}

/** Whether a palette's places are numbers: its colours are those of their classes, or a ramp of greys. */
function numbered(values, palette, classes, domain) {
  const used = [...new Set(values)];
  const own = (value) => {
    const found = classes(value);
    return found !== NONE && String(rgbOf(domain.classes[found].color)) === String(palette[value]);
  };
  const known = domain.classes.map(({ color }) => String(rgbOf(color)));
  const foreign = used.some((value) => !known.includes(String(palette[value])));
  return used.every(own) || foreign || used.every((value) => palette[value]?.every((part) => part === value));
}

function byColor({ width, height, rgb }, domain) {
  const table = new Map(domain.classes.map(({ color }, place) => [pixel(rgbOf(color)), place]).reverse());
  const raster = Raster.filled(width, height, 0, domain.classes.length);
  const { unknown } = domain.preparation;
  let wrong = 0;
  for (let place = 0; place < width * height; place += 1) {
    const found = table.get(pixel([rgb[3 * place], rgb[3 * place + 1], rgb[3 * place + 2]])) ?? unknown;
    if (found === null || found === undefined) wrong += 1;
    else raster.values[place] = found;
  }
  if (wrong) {
    const share = Math.max(Math.round((100 * wrong) / (width * height)), 1);
    throw new Error(
      `In this picture ${share} % of the pixels have a colour that is no class of “${domain.name}”. Give a label map.`,
    );
  }
  return raster;
}
