// Sends pictures of the camera to pgface, a few in each request, and shows where to look next.

const INTERVAL = 100; // milliseconds between two pictures, so that pgface sees every part of a turn
const MIN_PICTURES = 4; // in one request
const MAX_PICTURES = 20; // in one request: pgface accepts no more
const WARM_UP = 800; // milliseconds in which the camera adapts to the light, without taking pictures
const WIDTH = 640; // pixels. pgface needs a face of at least 70 pixels to measure the motion inside of it.
const INSTRUCTIONS = {
  centre: "Look straight ahead",
  left: "Turn your head to the left, and stay there",
  right: "Turn your head to the right, and stay there",
  up: "Look up, and stay there",
};

const beginButton = document.getElementById("begin");
const camera = document.getElementById("camera");
const message = document.getElementById("say");
const credentials = document.getElementById("who");
const policy = document.getElementById("face").dataset.policy;
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Calls `take` once for each picture of the camera, at most once in each INTERVAL. Returns a function that stops it.
// A timer would take a picture of a slow camera twice, for example in the dark, and pgface would see a still photo.
function forEachPicture(take) {
  let first;
  let last = -1;
  let done = false;
  function onPicture(now) {
    if (done) return;
    first ??= now;
    const interval = Math.round((now - first) / INTERVAL);
    if (interval > last) {
      last = interval;
      take();
    }
    camera.requestVideoFrameCallback(onPicture);
  }
  camera.requestVideoFrameCallback(onPicture);
  return () => {
    done = true;
  };
}

// Sends pictures as long as the answers say where to look, and returns the first other answer.
async function sendPictures(token) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.min(WIDTH, camera.videoWidth);
  canvas.height = Math.round((canvas.width * camera.videoHeight) / camera.videoWidth);
  const context = canvas.getContext("2d");
  const taken = []; // promises in order, because the next picture does not wait until this one is a JPEG
  await pause(WARM_UP);
  const stop = forEachPicture(() => {
    if (taken.length === MAX_PICTURES) return;
    context.drawImage(camera, 0, 0, canvas.width, canvas.height);
    taken.push(new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9)));
  });
  try {
    for (;;) {
      while (taken.length < MIN_PICTURES) await pause(INTERVAL / 2);
      const form = new FormData();
      form.append("challenge", token);
      for (const taking of taken.splice(0)) {
        const picture = await taking;
        if (picture) form.append("frames", picture, "frame.jpg"); // null if the browser is out of memory
      }
      const answer = await fetch("/login/face", { method: "POST", body: form });
      if (answer.status !== 202) return answer;
      message.textContent = INSTRUCTIONS[(await answer.json()).pose];
    }
  } finally {
    stop();
  }
}

async function withCamera(act) {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 640 } } });
  try {
    camera.srcObject = stream;
    camera.hidden = false; // a hidden video has no pictures
    await camera.play();
    return await act();
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    camera.hidden = true;
  }
}

async function logInByFace() {
  let answer = await fetch("/login/face/challenge", { method: "POST", body: new FormData(credentials) });
  if (answer.ok) {
    const { token, pose } = await answer.json();
    message.textContent = INSTRUCTIONS[pose];
    answer = await withCamera(() => sendPictures(token));
  }
  if (answer.ok) {
    location.assign("/");
  } else if (answer.status === 429) {
    message.textContent = "Too many attempts. Wait, and try again.";
  } else {
    message.textContent = answer.status === 401 ? "That did not work. Try again." : "This does not work at the moment.";
  }
}

function hasCredentials() {
  const { email, password } = credentials.elements;
  if (policy === "identify+liveness") return true;
  return email.reportValidity() && (policy === "face+liveness" || password.reportValidity());
}

beginButton.addEventListener("click", async () => {
  if (!hasCredentials()) return;
  beginButton.disabled = true;
  try {
    await logInByFace();
  } catch (error) {
    const noCamera = error instanceof DOMException;
    message.textContent = noCamera ? "The camera cannot be used." : "This does not work at the moment.";
  } finally {
    beginButton.disabled = false;
  }
});
