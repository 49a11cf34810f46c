/** The statement of provenance in a PNG file that is there already. */
import { isPng } from "./png-read.js";
import { STATEMENT, statement } from "./png-write.js";

/** The blob with an XMP packet in a text chunk of its own; one that is there is replaced. Throws if it is no PNG. */
export async function withProvenance(blob, xmp) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  if (!isPng(bytes)) throw new Error("The result is no PNG, so the provenance statement cannot be written into it.");
  const kept = chunks(bytes).filter((chunk) => !(chunk.type === "iTXt" && text(chunk.data).startsWith(`${STATEMENT}\0`)));
  const [head, ...rest] = kept.map((chunk) => bytes.subarray(chunk.start, chunk.end));
  return new Blob([bytes.subarray(0, 8), head, statement(xmp), ...rest], { type: "image/png" });
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
