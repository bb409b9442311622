"""The token viewer: `pgpo-async tokens`."""
