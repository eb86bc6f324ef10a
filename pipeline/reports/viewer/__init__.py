"""A viewer of scans and masks in the browser: served to this machine only, NiiVue draws it."""
