/** Where inputs come from: files, the clipboard, the camera, and the samples of the run. */
import { $, make, showBlob } from "./dom.js";

/**
 * @param {(blob: Blob) => void} take
 */
export function wireSources(take) {
  const file = $("file");
  for (const id of ["upload", "empty-upload"]) $(id).addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    if (file.files[0]) take(file.files[0]);
    file.value = "";
  });
  wireDrop(take);
  document.addEventListener("paste", (event) => {
    const [pasted] = event.clipboardData?.files ?? [];
    if (pasted) take(pasted);
  });
  $("camera").addEventListener("click", () => openCamera());
  $("camera-take").addEventListener("click", () => takePicture(take));
  $("camera-dialog").addEventListener("close", stopCamera);
}

function wireDrop(take) {
  const page = document.body;
  const over = (there) => $("stage").classList.toggle("over", there);
  page.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  page.addEventListener("dragleave", (event) => event.relatedTarget || over(false));
  page.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    const [dropped] = event.dataTransfer.files;
    if (dropped) take(dropped);
  });
}

/** Why there is no picture of the camera, by the name of the browser's error. */
const REFUSALS = {
  NotAllowedError: "The browser does not let this page use the camera. Allow it in the address bar, or choose a file.",
  NotFoundError: "The browser finds no camera. Choose a file instead.",
  NotReadableError: "Another program uses the camera. Close it, or choose a file.",
};

async function openCamera() {
  const [video, told] = [$("camera-video"), $("camera-told")];
  told.textContent = "";
  $("camera-take").disabled = true;
  video.hidden = false;
  $("camera-dialog").showModal();
  if (!navigator.mediaDevices?.getUserMedia) {
    told.textContent =
      "Browsers give the camera only to pages that come over https or from this machine. Choose a file instead.";
    video.hidden = true;
    return;
  }
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
    if (!$("camera-dialog").open) return stop(stream);
    video.srcObject = stream;
    await video.play();
    $("camera-take").disabled = false;
  } catch (error) {
    video.hidden = true;
    told.textContent = REFUSALS[error.name] ?? `The camera cannot be used (${error.message}). Choose a file instead.`;
  }
}

function takePicture(take) {
  const video = $("camera-video");
  const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => {
    $("camera-dialog").close();
    if (blob) take(blob);
  }, "image/png");
}

function stopCamera() {
  const video = $("camera-video");
  if (video.srcObject) stop(video.srcObject);
  video.srcObject = null;
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/**
 * The samples of a direction as buttons.
 *
 * @param {object} model  @param {object} direction
 * @param {(url: string) => Promise<Blob>} fetchSample
 * @param {(blob: Blob) => void} take
 * @returns {Promise<Blob>[]}  theirs
 */
export function showSamples(model, direction, fetchSample, take) {
  const urls = model.samples.filter((sample) => sample.direction === direction.id).map(({ url }) => url);
  return thumbnails($("samples"), urls, "Sample", fetchSample, take);
}

/** Pictures of files as buttons in a row. */
export function thumbnails(row, urls, word, fetchSample, take) {
  for (const image of row.querySelectorAll("img")) showBlob(image, null);
  const blobs = urls.map((url) => fetchSample(url));
  row.hidden = !urls.length;
  row.replaceChildren(
    ...blobs.map((promised, place) => {
      const image = make("img", { alt: "" });
      const button = make(
        "button",
        { class: "thumb", "aria-label": `${word} ${place + 1}`, title: `${word} ${place + 1}` },
        image,
      );
      promised.then(
        (blob) => {
          showBlob(image, blob);
          button.addEventListener("click", () => take(blob));
        },
        () => button.remove(),
      );
      return button;
    }),
  );
  return blobs;
}
