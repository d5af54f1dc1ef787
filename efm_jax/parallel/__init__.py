"""Many devices and hosts: charges split over a mesh or streamed from the host, training steps over devices."""
