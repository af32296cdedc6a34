"""Charts as inline SVG, all in one house style; importing a chart imports matplotlib."""
