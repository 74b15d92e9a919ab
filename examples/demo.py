"""Enroll people, identify and verify them, and query the gallery in SQL, all in one run.

`make demo` runs it. The photos come with installed packages: the astronaut Eileen Collins with scikit-image (a photo by
NASA, in the public domain), and six people with insightface. In a second run, the people are enrolled already.
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
    """Return the path of a photo that comes with an installed package."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"The demo's photos come with the package {package}. Run the demo with `make demo`.")
    return Path(found.origin).parent.joinpath(*path)


def altered_copy(photo: Path, to: Path) -> Path:
    """Write a copy that differs as another photo of the same people would: mirrored, darker, smaller and compressed."""
    with Image.open(photo) as opened:
        mirrored = ImageOps.mirror(opened.convert("RGB"))
    darker = ImageEnhance.Brightness(mirrored).enhance(0.75)
    darker.resize((darker.width * 4 // 5, darker.height * 4 // 5)).save(to, quality=60)
    return to


def show(answer: Identification) -> None:
    """Print the matches of each face."""
    for face in answer.faces:
        who = ", ".join(f"{match.name} (similarity {match.similarity:.2f})" for match in face.matches) or "unknown"
        print(f"    box {face.face.box.x:.0f},{face.face.box.y:.0f}: {who}")


def shell_command(*arguments: str) -> str:
    """Return a pgface command for the demo's gallery. It also works in a shell with settings for another gallery."""
    settings = {name: "" for name in ("PGFACE_DATABASE_URL", "PGFACE_SCHEMA") if os.environ.get(name)}
    settings["PGFACE_DATA_DIR"] = str(DATA_DIR)
    variables = [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
    return " ".join([*variables, shlex.join([str(Path(sys.executable).with_name("pgface")), *arguments])])


def main() -> None:
    """Run the demo."""
    started = time.monotonic()
    astronaut = packaged_photo("skimage", "data", "astronaut.png")
    group = packaged_photo("insightface", "data", "images", "t1.jpg")
    settings = Settings.model_validate({"data_dir": DATA_DIR, "database_url": None, "PGFACE_SCHEMA": "public"})

    with Gallery.create(settings, model="sface") as gallery:
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
            probe = altered_copy(photo, DATA_DIR / f"probe-{photo.stem}.jpg")
            print(f"Who is in {probe.name}, which is mirrored, darker, smaller and compressed?")
            answer = gallery.identify(probe)
            show(answer)
            with open_photo(probe, PhotoLimits.from_settings(settings)) as opened:
                annotate(opened.pixels, answer).image.save(DATA_DIR / f"answer-{photo.stem}.png")

        verified = gallery.verify(DATA_DIR / "probe-astronaut.jpg", "eileen.collins@pgface.invalid")
        print(f"Is that Eileen Collins? {'Yes' if verified.match else 'No'}, similarity {verified.similarity:.2f}.")

        print("The same search in SQL, which works from any program:")
        query = """
            SELECT user_name, round(similarity::numeric, 2)
            FROM find_similar_faces((SELECT embedding FROM face_embeddings ORDER BY id LIMIT 1), -1, 3)
        """
        with psycopg.connect(gallery.url) as connection:
            for name, similarity in connection.execute(query):
                print(f"    {name}: {similarity}")

    print(f"Done in {time.monotonic() - started:.1f} s. The data is in {DATA_DIR}, with the annotated photos:")
    for photo in (astronaut, group):
        print(f"    {DATA_DIR / f'answer-{photo.stem}.png'}")
    print("Serve this gallery, and register at http://127.0.0.1:8000/register:")
    print(f"    {shell_command('serve')}")
    print("To see all users, make yourself an administrator in another terminal:")
    print(f"    {shell_command('admins', 'add', 'you@example.org')}")
    print("Or create a key for the REST API, which http://127.0.0.1:8000/api/v1/openapi.json describes:")
    print(f"    {shell_command('keys', 'create', 'demo', '--scope', 'admin')}")


if __name__ == "__main__":
    main()
