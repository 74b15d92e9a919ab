// The own photo of a user, from a file or the camera, in one form, with a preview.

import { close, light, open, pause, picture, say, word } from "./camera.js";

const SIDE = 720; // pixels of the shorter side at most

const $ = (id) => document.getElementById(id);
const [video, stage, saying, file, preview, chosen] = ["camera", "stage", "say", "photo", "preview", "chosen"].map($);

function show() {
  URL.revokeObjectURL(preview.src);
  const [photo] = file.files;
  chosen.hidden = $("add").hidden = !photo;
  preview.removeAttribute("src");
  if (photo) {
    preview.src = URL.createObjectURL(photo);
    $("file-name").textContent = photo.name;
    $("file-size").textContent = new Intl.NumberFormat(document.documentElement.lang, {
      style: "unit",
      unit: photo.size < 1e6 ? "kilobyte" : "megabyte",
      maximumFractionDigits: photo.size < 1e6 ? 0 : 1,
    }).format(photo.size / (photo.size < 1e6 ? 1e3 : 1e6));
  }
}

function leave() {
  close(video);
  stage.hidden = true;
  $("use-camera").hidden = false;
  show();
}

async function watch() {
  while (video.srcObject) {
    say(saying, word(light(video) ?? "guide"));
    await pause(500);
  }
}

$("use-camera").addEventListener("click", async () => {
  stage.hidden = false;
  $("use-camera").hidden = $("add").hidden = chosen.hidden = true;
  $("take").hidden = false;
  $("take").disabled = true;
  say(saying, word("opening"));
  try {
    await open(video);
    $("take").disabled = false;
    $("take").focus();
    watch();
  } catch (error) {
    close(video);
    $("take").hidden = true;
    say(saying, word(["denied", "insecure"].includes(error.message) ? error.message : "missing"));
  }
});

$("take").addEventListener("click", async () => {
  const blob = await picture(video, SIDE, 0.95);
  const name = `camera-${new Date().toISOString().slice(0, 19).replaceAll(":", ".")}.jpg`;
  const taken = new DataTransfer();
  taken.items.add(new File([blob], name, { type: blob.type }));
  file.files = taken.files;
  leave();
  $("add").focus();
});

$("cancel").addEventListener("click", () => {
  leave();
  $("use-camera").focus();
});

// With a preview, hide the text of the browser's own button. The field stays, and accepts dropped files.
const label = document.querySelector('label[for="photo"]');
const words = document.createElement("span");
words.textContent = label.textContent;
label.className = "choice";
const focused = document.activeElement === file;
label.replaceChildren(file, " ", words);
if (focused) file.focus();

file.addEventListener("change", show);
window.addEventListener("pagehide", () => close(video));
$("use-camera").hidden = false;
show();
