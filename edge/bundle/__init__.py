"""Signed bundles: one directory that says everything a device needs to decide.

    manifest.json    name, version, profile, artifacts, and sha256 and size of every other file
    manifest.sig     Ed25519 over the bytes of manifest.json
    policy.toml      thresholds and weights of the score
    profile.toml     the device profile that the models were made for
    ocr/ text-risk/ behaviour/ ...    artifacts as compression wrote them, golden inputs included

docs/bundle-format.md describes it; docs/adr/0004 says why it is so.
"""
