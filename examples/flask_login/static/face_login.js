// Takes pictures while the head turns as it is asked to, and sends them with the challenge.

const EVERY = 100; // milliseconds: pgface wants to see every part of a turn
const FOR_A_TURN = 1600; // there, and as long again on the way back
const WIDTH = 480;
const WORDS = { left: "Turn your head to the left", right: "Turn your head to the right", up: "Look up" };

const say = document.getElementById("say");
const camera = document.getElementById("camera");
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function picture() {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = Math.round((WIDTH * camera.videoHeight) / camera.videoWidth);
  canvas.getContext("2d").drawImage(camera, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
}

async function record(turns) {
  const frames = [];
  const timer = setInterval(async () => frames.push(await picture()), EVERY);
  try {
    say.textContent = "Look straight ahead";
    await pause(800);
    for (const turn of turns) {
      say.textContent = WORDS[turn];
      await pause(FOR_A_TURN / 2);
    }
    say.textContent = "Look straight ahead again";
    await pause(1500);
  } finally {
    clearInterval(timer);
  }
  return frames;
}

async function logInByFace() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 640 } } });
  camera.srcObject = stream;
  camera.hidden = false;
  await camera.play();
  try {
    const challenge = await (await fetch("/login/face/challenge", { method: "POST" })).json();
    const form = new FormData();
    form.append("challenge", challenge.token);
    const who = new FormData(document.getElementById("who"));
    for (const name of ["email", "password"]) {
      form.append(name, who.get(name));
    }
    const frames = await record(challenge.turns);
    frames.forEach((frame, number) => form.append("frames", frame, `${number}.jpg`));
    say.textContent = "One moment";
    const answer = await fetch("/login/face", { method: "POST", body: form });
    if (answer.ok) {
      location.assign("/");
    } else {
      say.textContent = answer.status === 429 ? "Too many attempts: wait a little." : "That did not work. Try again.";
    }
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    camera.hidden = true;
  }
}

document.getElementById("begin").addEventListener("click", () => {
  logInByFace().catch(() => {
    say.textContent = "There is no camera that may be used.";
  });
});
