"""The methods of the gateway, by what they are about."""
