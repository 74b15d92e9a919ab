// Opens and closes a camera, and takes JPEG pictures, which are not mirrored.

const FRAME_TIMEOUT = 5000; // milliseconds without a new picture after which the camera counts as missing
const DARK = 45; // mean brightness around the middle, of 255
const BRIGHT = 225;

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Returns a message of the page in its language.
export function word(name) {
  return document.getElementById("words").content.querySelector(`[data-word="${name}"]`).textContent;
}

// Shows a message. Screen readers do not repeat a message that is shown already.
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

// Waits for a new picture. In the dark some cameras take few pictures.
export function next(video) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("missing")), FRAME_TIMEOUT);
    const arrived = () => {
      clearTimeout(timer);
      resolve();
    };
    if ("requestVideoFrameCallback" in video) {
      video.requestVideoFrameCallback(arrived);
      return;
    }
    const before = video.currentTime;
    const look = () => (video.currentTime === before ? requestAnimationFrame(look) : arrived());
    look();
  });
}

// Returns the current picture, with at most `shorter` pixels on its shorter side.
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

// Returns "dark" or "bright" for the middle of the picture, or null if its brightness is good.
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
