"""The `download` kind: files fetched so that their bytes can be trusted."""
