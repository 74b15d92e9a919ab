// A photo of oneself: from the camera into the form that also takes files, and shown before it is sent.

import { close, light, open, pause, picture, say, word } from "./camera.js";

const SIDE = 720; // pixels of the shorter side at most

const $ = (id) => document.getElementById(id);
const [video, stage, saying, file, preview] = ["camera", "stage", "say", "photo", "preview"].map($);

function show() {
  URL.revokeObjectURL(preview.src);
  const [chosen] = file.files;
  preview.hidden = !chosen;
  preview.removeAttribute("src");
  if (chosen) {
    preview.src = URL.createObjectURL(chosen);
  }
}

function leave() {
  close(video);
  stage.hidden = true;
  $("use-camera").hidden = $("add").hidden = false;
}

async function watch() {
  while (video.srcObject) {
    say(saying, word(light(video) ?? "guide"));
    await pause(500);
  }
}

$("use-camera").addEventListener("click", async () => {
  stage.hidden = false;
  $("use-camera").hidden = $("add").hidden = true;
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
  const chosen = new DataTransfer();
  chosen.items.add(new File([blob], name, { type: blob.type }));
  file.files = chosen.files;
  show();
  leave();
  $("add").focus();
});

$("cancel").addEventListener("click", () => {
  leave();
  $("use-camera").focus();
});

file.addEventListener("change", show);
window.addEventListener("pagehide", () => close(video));
$("use-camera").hidden = false;
show();
