// Logs a user in by face.

import { offer, post } from "./challenge.js";

const form = document.getElementById("who");

let token = "";

offer({
  async start(signal) {
    const who = JSON.stringify(Object.fromEntries(new FormData(form)));
    const answer = await post("/api/v1/auth/challenge", who, signal, { "Content-Type": "application/json" });
    const challenge = await answer.json();
    token = challenge.token;
    return challenge.pose;
  },
  ask(frame, signal) {
    const data = new FormData();
    data.append("challenge", token);
    data.append("frame", frame, "frame.jpg");
    return post("/api/v1/auth/hint", data, signal);
  },
  send(frames, signal) {
    const data = new FormData();
    data.append("challenge", token);
    data.append("next", form.dataset.next);
    frames.forEach((frame, number) => data.append("frames", frame, `${number}.jpg`));
    return post("/login/face", data, signal);
  },
  async finish(answer) {
    location.assign((await answer.json()).next);
  },
});
