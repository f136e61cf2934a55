"""Where events come in: lines (bytes → event lines), socket (Unix socket), host (psutil)."""
