// Takes pictures while the head turns as it is asked to, and sends them with the challenge.

const EVERY = 100; // milliseconds from one picture to the next: pgface wants to see every part of a turn
const MOST = 100; // pictures that it takes; the longest challenge, of four turns, needs 90
const READY = 800; // milliseconds in which a camera gets used to the light; nothing is taken yet
const AHEAD = 500;
const FOR_A_TURN = 1600; // there, or from one side to the other
const BACK = 2000;
const WIDTH = 480;
const WORDS = { left: "Turn your head to the left", right: "Turn your head to the right", up: "Look up" };

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

async function picturesOf(turns) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.min(WIDTH, camera.videoWidth);
  canvas.height = Math.round((canvas.width * camera.videoHeight) / camera.videoWidth);
  const context = canvas.getContext("2d");
  const pictures = []; // promises, in order: the next picture does not wait until this one is a JPEG
  say.textContent = "Look straight ahead";
  await pause(READY);
  const stop = eachPicture(() => {
    if (pictures.length === MOST) return;
    context.drawImage(camera, 0, 0, canvas.width, canvas.height);
    pictures.push(new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9)));
  });
  await pause(AHEAD);
  for (const turn of turns) {
    say.textContent = WORDS[turn];
    await pause(FOR_A_TURN);
  }
  say.textContent = "Look straight ahead again";
  await pause(BACK);
  stop();
  return Promise.all(pictures);
}

async function record(turns) {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 640 } } });
  try {
    camera.srcObject = stream;
    camera.hidden = false; // a video that is not shown has no pictures
    await camera.play();
    return await picturesOf(turns);
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    camera.hidden = true;
  }
}

async function logInByFace() {
  const challenge = await (await fetch("/login/face/challenge", { method: "POST" })).json();
  const form = new FormData();
  form.append("challenge", challenge.token);
  form.append("email", who.elements.email.value);
  form.append("password", who.elements.password.value);
  const pictures = await record(challenge.turns);
  pictures.forEach((picture, number) => form.append("frames", picture, `${number}.jpg`));
  say.textContent = "One moment";
  const answer = await fetch("/login/face", { method: "POST", body: form });
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
