"""Packages of registries, made in memory: Debian's, npm's and PyPI's."""

import hashlib
import io
import tarfile
import zipfile

from imagebind_llm.checkpoints.packages.package import Package


def tar(files, packing="xz", links=()):
    """A tar file of path → content; ``links`` are pairs of a path and what it points to."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{packing}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return buffer.getvalue()


def deb(files, packing="xz", links=(), data_name=None):
    """A Debian package: an ``ar`` archive of a version, a control and a data file."""
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": tar({"./control": b"Package: x\n"}),
        data_name or f"data.tar.{packing}": tar(files, packing, links),
    }
    archive = b"!<arch>\n"
    for name, content in parts.items():
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        archive += b"\n" * (len(content) % 2)
    return archive


def wheel(files, name="tiny", version="1.0"):
    """A wheel that pip takes: path → content, and what pip must find."""
    info = f"{name}-{version}.dist-info"
    told = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    return zipped({**files, **told})


def zipped(files):
    """A zip file of path → content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def known(registry, path, content, name="tiny", version="1.0"):
    """What a catalogue knows of a package with this content."""
    return Package(registry, name, version, path, len(content), hashlib.sha256(content).hexdigest())
