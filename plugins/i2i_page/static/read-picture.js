/** Picture files as numbers: PNG by a decoder of ours, all others by the browser's, without conversion of colours. */

import { isPng, readPng } from "./png-read.js";

/**
 * @param {Blob} file
 * @param {number} pixels the most pixels to decode
 * @returns {Promise<import("./png-read.js").Picture & {lossy: boolean}>} upright; *lossy*: the file is a JPEG
 * @throws {Error} with a sentence, for a file that is empty, not a picture that this browser knows, or too large
 */
export async function readPicture(file, pixels) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (!bytes.length) throw new Error("the file is empty (0 bytes). Give a picture.");
  if (isPng(bytes) && !turned(bytes)) return { ...(await readPng(bytes, pixels)), lossy: false };
  return { ...(await decoded(file, pixels)), lossy: bytes[0] === 0xff && bytes[1] === 0xd8 };
}

/** Whether a PNG says in its first kilobytes how it is to be turned; the browser does that. */
function turned(bytes) {
  const head = bytes.subarray(0, 4096);
  return head.some((byte, i) => byte === 101 && head[i + 1] === 88 && head[i + 2] === 73 && head[i + 3] === 102); // "eXIf"
}

async function decoded(file, pixels) {
  const options = { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" };
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, options);
  } catch {
    throw new Error("this is not a picture that this browser can read. Give a PNG, JPEG or WebP file.");
  }
  const { width, height } = bitmap;
  if (width * height > pixels) {
    bitmap.close();
    throw new Error(`the picture is too large: ${width} x ${height} pixels; the limit is ${pixels} pixels. Scale it down.`);
  }
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { width, height, depth: 8, channels: 4, data: context.getImageData(0, 0, width, height).data };
}
