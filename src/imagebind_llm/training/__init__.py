"""Training: four stages (bind, language, pretrain, finetune) and the one loop around them."""
