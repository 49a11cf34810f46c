/** What can be painted, and with what: the classes of a label map, the ink of a drawing, the mask of a picture. */
import { tableOf } from "./labels.js";

const HIDDEN = (150 << 24) | (30 << 16) | (26 << 8) | 22; // what a mask leaves out lies in the dark

const BRUSH = { value: "brush", label: "Brush", icon: "brush", title: "Brush" };
const FILL = { value: "fill", label: "Fill", icon: "fill", title: "Fill what hangs together" };
const POLYGON = {
  value: "polygon",
  label: "Polygon",
  icon: "polygon",
  title: "Polygon: click its corners; a double click or Enter closes it",
};

export const MODES = {
  labels: {
    title: "Paint a label map",
    tools: [BRUSH, FILL, POLYGON],
    hint: "Choose a class and paint. The result follows.",
    clear: "Fill all",
    canvas: "Canvas on which you paint the label map",
    file: "Label map",
  },
  drawing: {
    title: "Draw",
    tools: [
      { value: "pen", label: "Pen", icon: "pen", title: "Pen" },
      { value: "eraser", label: "Eraser", icon: "eraser", title: "Eraser" },
    ],
    hint: "Draw dark lines on white. The result follows.",
    clear: "Blank sheet",
    canvas: "Canvas on which you draw",
    file: "Drawing",
  },
  picture: {
    title: "Your picture",
    tools: [
      { ...BRUSH, label: "Translate", title: "Brush: only what you paint is translated" },
      { value: "eraser", label: "Keep", icon: "eraser", title: "Eraser: what you paint stays as it is" },
      POLYGON,
    ],
    hint: "Paint where the picture is to be translated. Without that, all of it is.",
    clear: "Whole picture",
    canvas: "Canvas on which you paint where the picture is translated",
    file: "Picture",
  },
};

/** The subject for an editor: see editor.js. @param {'labels'|'drawing'|'picture'} mode */
export function subjectOf(mode, raster, domain) {
  if (mode === "labels") {
    const names = domain.classes.map(({ name }) => name.replaceAll("_", " "));
    return { raster, table: tableOf(domain.classes), naming: (place) => names[place] ?? "", pixelated: true };
  }
  if (mode === "drawing") {
    const table = Uint32Array.from({ length: 256 }, (_, v) => ((255 << 24) | (v << 16) | (v << 8) | v) >>> 0);
    return { raster, table, naming: (ink) => (ink > 127 ? "white" : "black"), smooth: true };
  }
  const table = Uint32Array.from({ length: 256 }, (_, value) => (value > 127 ? 0 : HIDDEN >>> 0));
  return { raster, table, naming: (value) => (value ? "translated" : "kept"), first: startMask };
}

/** The first stroke of “translate here” on a picture that is translated as a whole leaves out all the rest. */
function startMask(raster, value) {
  if (value && isWhole(raster)) raster.values.fill(0);
}

export function isWhole(mask) {
  return mask.values.every((value) => value === 255);
}

/** What a tool paints, where the tool says it. */
export function inkOf(mode, tool) {
  if (mode === "drawing") return tool === "eraser" ? 255 : 0;
  return tool === "eraser" ? 0 : 255;
}
