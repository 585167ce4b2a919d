"""Runs: a suite asked through the server, arm beside arm, and what came of it."""
