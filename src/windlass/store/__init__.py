"""Stores: where tasks are kept. Each implements `contracts`; none decides anything."""
