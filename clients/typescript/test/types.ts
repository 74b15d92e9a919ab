// What the compiler accepts and refuses. Nothing here runs.

import type { Client, IdentifiedFace, Match, UserResponse } from "pgface-client";

export async function accepted(service: Client, photo: File): Promise<void> {
  const { user }: { user: UserResponse } = await service.enrollPhoto(12, { photo, face: "largest" });
  const faces: IdentifiedFace[] = (await service.identify({ photo: Buffer.alloc(1), threshold: null })).faces;
  const matches: Match[] = faces.flatMap((face) => face.matches);
  const confidence: number | null | undefined = matches[0]?.confidence;
  const crop: Blob = await service.getCrop(user.id, 40, { signal: AbortSignal.timeout(1000) });
  const nothing: void = await service.deleteUser(user.id);
  const step = await service.logInByFace({ challenge: "token", frames: [photo, crop, "frame.jpg"] });
  const token: string = "expires_at" in step ? step.token : step.pose;
  void [confidence, nothing, token];
}

export async function refused(service: Client): Promise<void> {
  // @ts-expect-error a photo is required
  await service.identify({ top: 3 });
  // @ts-expect-error there is no such field
  await service.identify({ photo: "alice.jpg", limit: 3 });
  // @ts-expect-error there is no such choice
  await service.verify({ photo: "alice.jpg", face: "biggest" });
  // @ts-expect-error an id is a number
  await service.getUser("alice@example.org");
  // @ts-expect-error this call creates nothing
  await service.getUser(12, { idempotencyKey: "import-row-17" });
  // @ts-expect-error a photo is not a number
  await service.detect({ photo: 5 });
  // @ts-expect-error the confidence may be null
  const confidence: number = (await service.verify({ photo: "alice.jpg" })).confidence;
  void confidence;
}
