// Shows pgface what the camera sees, a few pictures at a time, and says where to look next.

const EVERY = 100; // milliseconds from one picture to the next: pgface wants to see every part of a turn
const TOGETHER = 4; // pictures of one request at least
const MOST = 20; // pgface takes no more in one request
const READY = 800; // milliseconds in which a camera gets used to the light; nothing is taken yet
const WIDTH = 640; // pixels: the motion inside of a face needs 70 of them at least
const WORDS = {
  centre: "Look straight ahead",
  left: "Turn your head to the left, and stay there",
  right: "Turn your head to the right, and stay there",
  up: "Look up, and stay there",
};

const begin = document.getElementById("begin");
const camera = document.getElementById("camera");
const say = document.getElementById("say");
const who = document.getElementById("who");
const policy = document.getElementById("face").dataset.policy;
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Calls `take` for the camera's pictures, each once and at most one in each EVERY, until the function it gives is called.
// A timer would take one picture twice where a camera is slow, as in the dark, and pgface takes that for a still photo.
function eachPicture(take) {
  let first;
  let last = -1;
  let done = false;
  function shown(now) {
    if (done) return;
    first ??= now;
    const turn = Math.round((now - first) / EVERY);
    if (turn > last) {
      last = turn;
      take();
    }
    camera.requestVideoFrameCallback(shown);
  }
  camera.requestVideoFrameCallback(shown);
  return () => {
    done = true;
  };
}

// Sends pictures while the answer is where to look, and returns the first other answer.
async function showCamera(token) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.min(WIDTH, camera.videoWidth);
  canvas.height = Math.round((canvas.width * camera.videoHeight) / camera.videoWidth);
  const context = canvas.getContext("2d");
  const taken = []; // promises, in order: the next picture does not wait until this one is a JPEG
  await pause(READY);
  const stop = eachPicture(() => {
    if (taken.length === MOST) return;
    context.drawImage(camera, 0, 0, canvas.width, canvas.height);
    taken.push(new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9)));
  });
  try {
    for (;;) {
      while (taken.length < TOGETHER) await pause(EVERY / 2);
      const form = new FormData();
      form.append("challenge", token);
      for (const taking of taken.splice(0)) {
        const picture = await taking;
        if (picture) form.append("frames", picture, "frame.jpg"); // none where the browser has no memory left
      }
      const answer = await fetch("/login/face", { method: "POST", body: form });
      if (answer.status !== 202) return answer;
      say.textContent = WORDS[(await answer.json()).pose];
    }
  } finally {
    stop();
  }
}

async function withCamera(act) {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 640 } } });
  try {
    camera.srcObject = stream;
    camera.hidden = false; // a video that is not shown has no pictures
    await camera.play();
    return await act();
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    camera.hidden = true;
  }
}

async function logInByFace() {
  const begun = await fetch("/login/face/challenge", { method: "POST", body: new FormData(who) });
  let answer = begun;
  if (begun.ok) {
    const { token, pose } = await begun.json();
    say.textContent = WORDS[pose];
    answer = await withCamera(() => showCamera(token));
  }
  if (answer.ok) {
    location.assign("/");
  } else if (answer.status === 429) {
    say.textContent = "Too many attempts: wait a little.";
  } else {
    say.textContent = answer.status === 401 ? "That did not work. Try again." : "This does not work at the moment.";
  }
}

function saysWho() {
  const { email, password } = who.elements;
  if (policy === "identify+liveness") return true;
  return email.reportValidity() && (policy === "face+liveness" || password.reportValidity());
}

begin.addEventListener("click", async () => {
  if (!saysWho()) return;
  begin.disabled = true;
  try {
    await logInByFace();
  } catch (error) {
    const noCamera = error instanceof DOMException;
    say.textContent = noCamera ? "There is no camera that may be used." : "This does not work at the moment.";
  } finally {
    begin.disabled = false;
  }
});
