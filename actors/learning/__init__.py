"""Training: from requests with known calls to adapters and router heads."""
