"""What pgface does, in one run: enroll people, find them again, verify one, ask in SQL, and how to serve it all.

`make demo` runs it. The photos come inside installed packages: an astronaut, Eileen Collins, from scikit-image (taken
by NASA, in the public domain), and six people from insightface. A second run finds them enrolled already.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
import time
from pathlib import Path

import psycopg
from PIL import Image, ImageEnhance, ImageOps

from pgface import Gallery, Identification, Settings
from pgface.faces.annotate import annotate
from pgface.faces.photo import PhotoLimits, open_photo

DATA_DIR = Path(__file__).parents[1] / "demo-data"


def packaged_photo(package: str, *path: str) -> Path:
    """A photo that comes inside an installed package."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"The demo's photos come with the package {package}; run it by `make demo`.")
    return Path(found.origin).parent.joinpath(*path)


def another_shot(photo: Path, to: Path) -> Path:
    """Something like another photo of the same people: mirrored, darker, smaller, and compressed."""
    with Image.open(photo) as opened:
        mirrored = ImageOps.mirror(opened.convert("RGB"))
    darker = ImageEnhance.Brightness(mirrored).enhance(0.75)
    darker.resize((darker.width * 4 // 5, darker.height * 4 // 5)).save(to, quality=60)
    return to


def show(answer: Identification) -> None:
    """Print who was found."""
    for face in answer.faces:
        who = ", ".join(f"{match.name} (similarity {match.similarity:.2f})" for match in face.matches) or "unknown"
        print(f"    box {face.face.box.x:.0f},{face.face.box.y:.0f}: {who}")


def pgface(*arguments: str) -> str:
    """A command on the demo's gallery, to be copied into a shell, whatever settings that has for another one."""
    others = ("PGFACE_DATABASE_URL", "PGFACE_SCHEMA")
    settings = [f"{name}=" for name in others if os.environ.get(name)] + [f"PGFACE_DATA_DIR={DATA_DIR}"]
    before = [f"{name}={shlex.quote(value)}" for name, _, value in (setting.partition("=") for setting in settings)]
    return " ".join([*before, shlex.join([str(Path(sys.executable).with_name("pgface")), *arguments])])


def main() -> None:
    """Run the demo."""
    started = time.monotonic()
    astronaut = packaged_photo("skimage", "data", "astronaut.png")
    group = packaged_photo("insightface", "data", "images", "t1.jpg")
    settings = Settings.model_validate({"data_dir": DATA_DIR, "database_url": None, "PGFACE_SCHEMA": "public"})

    with Gallery.create(settings, model="dlib") as gallery:
        status = gallery.status()
        print(f"PostgreSQL {status.postgresql} with pgvector {status.pgvector} runs in {settings.postgres_dir}.")

        print("Enrolling Eileen Collins, and the six people of a group photo:")
        enrolled = [
            gallery.enroll(astronaut, "eileen.collins@pgface.invalid", name="Eileen Collins"),
            *gallery.enroll_all(group, [f"person-{number}@pgface.invalid" for number in range(1, 7)]),
        ]
        for enrollment in enrolled:
            print(f"    {enrollment.user.name}: {'enrolled' if enrollment.added else 'enrolled already'}")

        for photo in (astronaut, group):
            probe = another_shot(photo, DATA_DIR / f"probe-{photo.stem}.jpg")
            print(f"Who is in {probe.name}, which is mirrored, darker, smaller and compressed?")
            answer = gallery.identify(probe)
            show(answer)
            with open_photo(probe, PhotoLimits.from_settings(settings)) as opened:
                annotate(opened.pixels, answer).image.save(DATA_DIR / f"answer-{photo.stem}.png")

        verified = gallery.verify(DATA_DIR / "probe-astronaut.jpg", "eileen.collins@pgface.invalid")
        print(f"Is that Eileen Collins? {'Yes' if verified.match else 'No'}, similarity {verified.similarity:.2f}.")

        print("The same question in SQL. Any program can ask it:")
        query = """
            SELECT user_name, round(similarity::numeric, 2)
            FROM find_similar_faces((SELECT embedding FROM face_embeddings ORDER BY id LIMIT 1), -1, 3)
        """
        with psycopg.connect(gallery.url) as connection:
            for name, similarity in connection.execute(query):
                print(f"    {name}: {similarity}")

    print(f"Done in {time.monotonic() - started:.1f} s. The data are in {DATA_DIR}, with the annotated pictures:")
    for photo in (astronaut, group):
        print(f"    {DATA_DIR / f'answer-{photo.stem}.png'}")
    print("Serve this gallery, and register at http://127.0.0.1:8000/register:")
    print(f"    {pgface('serve')}")
    print("To see all users, make yourself an administrator in another terminal:")
    print(f"    {pgface('admins', 'add', 'you@example.org')}")
    print("Or create a key for the REST API. It is described at http://127.0.0.1:8000/api/v1/openapi.json:")
    print(f"    {pgface('keys', 'create', 'demo', '--scope', 'admin')}")


if __name__ == "__main__":
    main()
