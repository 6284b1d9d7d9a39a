"""Questions about models that one training's figures leave open, and two models compared."""
