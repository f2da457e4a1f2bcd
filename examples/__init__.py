"""Programs that use asyncq as its users do."""
