"""`pgface reembed`: give a gallery another model, and keep its people."""
