// The form that adds a photo of the user, from a file or the camera, with a preview.

import { close, light, open, pause, picture, say, word } from "./camera.js";

const MAX_SIDE = 720; // pixels of the shorter side

const $ = (id) => document.getElementById(id);
const [video, stage, saying, file, preview, chosen] = ["camera", "stage", "say", "photo", "preview", "chosen"].map($);

function showPreview() {
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

function closeCamera() {
  close(video);
  stage.hidden = true;
  $("use-camera").hidden = false;
  showPreview();
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
  const blob = await picture(video, MAX_SIDE, 0.95);
  const name = `camera-${new Date().toISOString().slice(0, 19).replaceAll(":", ".")}.jpg`;
  const taken = new DataTransfer();
  taken.items.add(new File([blob], name, { type: blob.type }));
  file.files = taken.files;
  closeCamera();
  $("add").focus();
});

$("cancel").addEventListener("click", () => {
  closeCamera();
  $("use-camera").focus();
});

// The preview replaces the text of the browser's button. The hidden field still accepts dropped files.
const label = document.querySelector('label[for="photo"]');
const words = document.createElement("span");
words.textContent = label.textContent;
label.className = "choice";
const focused = document.activeElement === file;
label.replaceChildren(file, " ", words);
if (focused) file.focus();

file.addEventListener("change", showPreview);
window.addEventListener("pagehide", () => close(video));
$("use-camera").hidden = false;
showPreview();
