"""One TOML file for each kind of device; ``devices.profile`` reads them."""
