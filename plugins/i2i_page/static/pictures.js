/** Pictures of a person's: reading, greying, and blending a result with what it was made from. */
import { withProvenance } from "./png.js";

/** @returns {Promise<ImageBitmap>}  upright, as its EXIF says. @throws {Error} with a sentence */
export async function bitmapOf(blob) {
  try {
    return await createImageBitmap(blob);
  } catch {
    throw new Error("This browser cannot show the file as a picture. Give a PNG, JPEG or WebP file.");
  }
}

export function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/** RGBA pixels of a picture, transparency laid on a colour. @returns {Promise<ImageData>} */
export async function pixelsOf(source, { width, height, behind = "white" } = {}) {
  const bitmap = source instanceof Blob ? await bitmapOf(source) : source;
  const canvas = canvasOf(width ?? bitmap.width, height ?? bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = behind;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** Brightness 0 … 255 of RGBA pixels, by the weights of ITU-R 601-2. @returns {Uint8Array} */
export function greyOf({ data }) {
  const made = new Uint8Array(data.length / 4);
  made.forEach((_, place) => {
    const [red, green, blue] = data.subarray(4 * place, 4 * place + 3);
    made[place] = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
  });
  return made;
}

/**
 * before + strength * mask * (after - before), in RGBA pixels of one size.
 *
 * @param {Uint8ClampedArray} before
 * @param {Uint8ClampedArray} after
 * @param {number} strength  0 is the input, 1 the result
 * @param {Uint8Array|null} mask  255 where the result is wanted; null for everywhere
 */
export function blended(before, after, strength, mask) {
  const made = new Uint8ClampedArray(after.length);
  for (let place = 0; place < after.length; place += 4) {
    const share = strength * (mask ? mask[place / 4] / 255 : 1);
    for (let part = 0; part < 3; part += 1) {
      const [old, young] = [before[place + part], after[place + part]];
      made[place + part] = Math.round(old + share * (young - old));
    }
    made[place + 3] = 255;
  }
  return made;
}

/**
 * The result blended with its input, as a PNG with the statement of its provenance.
 *
 * @param {{blob: Blob, before: ImageBitmap, strength: number, mask: import('./raster.js').Raster|null, domain: object, xmp: string}} what
 */
export async function blendedFile({ blob, before, strength, mask, domain, xmp }) {
  const after = await pixelsOf(blob);
  const { width, height } = after;
  const input = await pixelsOf(before, { width, height, behind: domain.preparation.alpha === "black" ? "black" : "white" });
  if (domain.channels < 3) greyOf(input).forEach((value, place) => input.data.fill(value, 4 * place, 4 * place + 3));
  const made = blended(input.data, after.data, strength, mask ? smoothly(mask, width, height) : null);
  return withProvenance(await fileOf(new ImageData(made, width, height)), xmp);
}

/** A mask at another size, its edges as smooth as the scaling makes them. @returns {Uint8Array} */
function smoothly(mask, width, height) {
  if (mask.width === width && mask.height === height) return mask.values;
  const image = new ImageData(mask.width, mask.height);
  mask.values.forEach((value, place) => image.data.set([value, value, value, 255], 4 * place));
  const [small, large] = [canvasOf(mask.width, mask.height), canvasOf(width, height)];
  small.getContext("2d").putImageData(image, 0, 0);
  const context = large.getContext("2d", { willReadFrequently: true });
  context.drawImage(small, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return Uint8Array.from({ length: width * height }, (_, place) => data[4 * place]);
}

/** @param {ImageData} image */
export function fileOf(image) {
  const canvas = canvasOf(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return new Promise((done, failed) => {
    canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("The browser cannot write this picture."))), "image/png");
  });
}

/** The size of a picture whose longer side is at most *most*. */
export function within(width, height, most) {
  const factor = Math.min(1, most / Math.max(width, height));
  return [Math.max(1, Math.round(width * factor)), Math.max(1, Math.round(height * factor))];
}
