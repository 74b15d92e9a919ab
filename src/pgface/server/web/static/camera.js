// Opens and closes a camera, and takes pictures as JPEG, not mirrored.

const PATIENCE = 5000; // milliseconds for the next picture; after that the camera is taken for gone
const DARK = 45; // mean brightness of 255 around the middle
const BRIGHT = 225;

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// A word of the page in its language.
export function word(name) {
  return document.getElementById("words").content.querySelector(`[data-word="${name}"]`).textContent;
}

// Shows a message, once.
export function say(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

export async function open(video) {
  close(video);
  if (!navigator.mediaDevices) {
    throw new Error("insecure");
  }
  const wanted = { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 } };
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted });
  } catch (error) {
    throw new Error(error.name === "NotAllowedError" ? "denied" : "missing");
  }
  await video.play();
  await next(video);
}

export function close(video) {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
}

// Waits for a new picture: in the dark some cameras take few.
export function next(video) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("missing")), PATIENCE);
    const there = () => {
      clearTimeout(late);
      resolve();
    };
    if ("requestVideoFrameCallback" in video) {
      video.requestVideoFrameCallback(there);
      return;
    }
    const before = video.currentTime;
    const look = () => (video.currentTime === before ? requestAnimationFrame(look) : there());
    look();
  });
}

// The current picture, with a limit for its shorter side.
export function picture(video, shorter, quality = 0.9) {
  const scale = Math.min(1, shorter / Math.min(video.videoWidth, video.videoHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("missing"))), "image/jpeg", quality);
  });
}

// "dark" or "bright" if the middle of the picture is, else null.
export function light(video) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 16;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const { videoWidth: width, videoHeight: height } = video;
  context.drawImage(video, width * 0.3, height * 0.2, width * 0.4, height * 0.6, 0, 0, 16, 16);
  const pixels = context.getImageData(0, 0, 16, 16).data;
  let sum = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    sum += 0.299 * pixels[i] + 0.587 * pixels[i + 1] + 0.114 * pixels[i + 2];
  }
  const mean = sum / (pixels.length / 4);
  return mean < DARK ? "dark" : mean > BRIGHT ? "bright" : null;
}
