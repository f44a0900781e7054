// Anchors the library while the helpers are header-only.
