"""The charger: rules that take values and return answers, and a thin layer on the hardware."""
