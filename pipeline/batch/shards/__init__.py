"""One run as several processes, on any machines: who does which cases, and one table of all."""
