"""The bundle on disk and its manifest, the only contract between export and runtime."""
