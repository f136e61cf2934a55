"""Where events come in.

Unix socket: door (the file) → socket → connection (bytes → lines, within bounds) → lines (→ event lines) → group
(one commit for many). HTTP: edge → http* → otlp* → the same group. And host: this machine, read with psutil.
"""
